"""The expressions of admission policies and of webhooks' match conditions: what they see, how they are compiled and run.

`environments` has the variables, `expressions` compiles what a policy holds, `literals` reads the `Object{…}` and `JSONPatch{…}` of
mutations, and `running` gives values for one request. Validation uses the first part, the API server's admission all of it.

Source: k8s.io/apiserver/pkg/admission/plugin/cel, plugin/policy (v1.37).
"""
