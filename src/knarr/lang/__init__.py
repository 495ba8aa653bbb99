"""Pure text to value languages: semantic versions, JSONPath, cron, templates."""
