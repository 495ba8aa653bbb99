"""What flow control measures, under upstream's names.

Source: k8s.io/apiserver/pkg/util/flowcontrol/metrics/metrics.go (v1.37).
"""

from knarr.kit import metrics

_PREFIX = "apiserver_flowcontrol_"
_FLOW = ("priority_level", "flow_schema")
_LEVEL = ("priority_level",)
_DURATIONS = (0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0)
_SEATS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 100.0)
_LENGTHS = (0.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0)


class Measures:
    """The families of one API server.

    Args:
        registry: Shows them.
    """

    def __init__(self, registry: metrics.Registry) -> None:
        def counter(name: str, text: str, labels: tuple[str, ...]) -> metrics.Family[metrics.Count]:
            return registry.counter(_PREFIX + name, text, labels)

        def gauge(name: str, text: str, labels: tuple[str, ...] = _LEVEL) -> metrics.Family[metrics.Level]:
            return registry.gauge(_PREFIX + name, text, labels)

        def histogram(
            name: str, text: str, bounds: tuple[float, ...], labels: tuple[str, ...]
        ) -> metrics.Family[metrics.Distribution]:
            return registry.histogram(_PREFIX + name, text, bounds, labels)

        self.rejected = counter(
            "rejected_requests_total",
            "Number of requests rejected by API Priority and Fairness subsystem",
            (*_FLOW, "reason"),
        )
        self.dispatched = counter(
            "dispatched_requests_total", "Number of requests executed by API Priority and Fairness subsystem", _FLOW
        )
        self.in_queue = gauge(
            "current_inqueue_requests",
            "Number of requests currently pending in queues of the API Priority and Fairness subsystem",
            _FLOW,
        )
        self.in_queue_seats = gauge(
            "current_inqueue_seats",
            "Number of seats currently pending in queues of the API Priority and Fairness subsystem",
            _FLOW,
        )
        self.executing = gauge(
            "current_executing_requests",
            "Number of requests in initial (for a WATCH) or any (for a non-WATCH) execution stage in the API Priority and "
            "Fairness subsystem",
            _FLOW,
        )
        self.executing_seats = gauge(
            "current_executing_seats",
            "Concurrency (number of seats) occupied by the currently executing (initial stage for a WATCH, any stage "
            "otherwise) requests in the API Priority and Fairness subsystem",
            _FLOW,
        )
        self.queue_length = histogram(
            "request_queue_length_after_enqueue",
            "Length of queue in the API Priority and Fairness subsystem, as seen by each request after it is enqueued",
            _LENGTHS,
            _FLOW,
        )
        self.wait = histogram(
            "request_wait_duration_seconds",
            "Length of time a request spent waiting in its queue",
            _DURATIONS,
            (*_FLOW, "execute"),
        )
        self.execution = histogram(
            "request_execution_seconds",
            "Duration of initial stage (for a WATCH) or any (for a non-WATCH) stage of request execution in the API Priority "
            "and Fairness subsystem",
            _DURATIONS,
            (*_FLOW, "type"),
        )
        self.seats = histogram(
            "work_estimated_seats",
            "Number of estimated seats (maximum of initial and final seats) associated with requests in API Priority and "
            "Fairness",
            _SEATS,
            _FLOW,
        )
        self.nominal = gauge(
            "nominal_limit_seats", "Nominal number of execution seats configured for each priority level"
        )
        self.lower = gauge(
            "lower_limit_seats",
            "Configured lower bound on number of execution seats available to each priority level",
        )
        self.upper = gauge(
            "upper_limit_seats",
            "Configured upper bound on number of execution seats available to each priority level",
        )
        self.current = gauge(
            "current_limit_seats", "current derived number of execution seats available to each priority level"
        )
        self.demand_peak = gauge(
            "demand_seats_high_watermark", "High watermark, over last adjustment period, of demand_seats"
        )
        self.demand_average = gauge(
            "demand_seats_average", "Time-weighted average, over last adjustment period, of demand_seats"
        )
        self.demand_deviation = gauge(
            "demand_seats_stdev", "Time-weighted standard deviation, over last adjustment period, of demand_seats"
        )
        self.demand_smoothed = gauge("demand_seats_smoothed", "Smoothed seat demands")
        self.fair_fraction = gauge(
            "seat_fair_frac",
            "Fair fraction of server's concurrency to allocate to each priority level that can use it",
            (),
        )
