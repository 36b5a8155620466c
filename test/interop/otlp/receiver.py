"""
Receives OTLP/JSON with the messages of opentelemetry-proto: a field that they lack, a wrong type or an id of the wrong length is answered
with 400. Prints its port, then a line of JSON for each body.
"""

import base64
import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

LENGTHS = {"traceId": 16, "spanId": 8, "parentSpanId": 8}


def with_bytes(value):
    """OTLP writes ids as hexadecimal digits, and JSON of protobuf writes bytes in base64: the only difference of the two."""
    if isinstance(value, list):
        return [with_bytes(each) for each in value]
    if not isinstance(value, dict):
        return value
    changed = {}
    for name, each in value.items():
        if name in LENGTHS:
            data = bytes.fromhex(each)
            if len(data) != LENGTHS[name] or not any(data):
                raise ValueError(f"{name} {each!r} is no id")
            changed[name] = base64.b64encode(data).decode()
        else:
            changed[name] = with_bytes(each)
    return changed


def attributes(of):
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in of}


def spans(message):
    for resource in message.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                assert 0 < span.start_time_unix_nano <= span.end_time_unix_nano, span.name
                yield {
                    "name": span.name,
                    "traceId": span.trace_id.hex(),
                    "parentSpanId": span.parent_span_id.hex(),
                    "state": span.trace_state,
                    "kind": span.kind,
                    "attributes": attributes(span.attributes),
                    "service": attributes(resource.resource.attributes)["service.name"],
                }


def metrics(message):
    for resource in message.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                kind = metric.WhichOneof("data")
                points = getattr(metric, kind).data_points
                for point in points:
                    assert 0 < point.start_time_unix_nano <= point.time_unix_nano, metric.name
                    if kind == "histogram":
                        assert len(point.bucket_counts) == len(point.explicit_bounds) + 1, metric.name
                        assert sum(point.bucket_counts) == point.count, metric.name
                exemplars = [each.trace_id.hex() for point in points for each in getattr(point, "exemplars", [])]
                yield {"name": metric.name, "kind": kind, "points": len(points), "exemplars": exemplars}


def logs(message):
    for resource in message.resource_logs:
        for scope in resource.scope_logs:
            for record in scope.log_records:
                yield {
                    "body": record.body.string_value,
                    "severity": record.severity_text,
                    "attributes": attributes(record.attributes),
                }


SIGNALS = {
    "/v1/traces": (ExportTraceServiceRequest, spans),
    "/v1/metrics": (ExportMetricsServiceRequest, metrics),
    "/v1/logs": (ExportLogsServiceRequest, logs),
}


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            message, entries = SIGNALS[self.path]
            decoded = ParseDict(with_bytes(json.loads(body)), message(), ignore_unknown_fields=False)
            told, status = {"path": self.path, "entries": list(entries(decoded))}, 200
        except Exception as error:
            told, status = {"path": self.path, "refused": f"{type(error).__name__}: {error}"}, 400
        print(json.dumps(told), flush=True)
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Receiver)
print(server.server_port, flush=True)
sys.stdout.flush()
server.serve_forever()
