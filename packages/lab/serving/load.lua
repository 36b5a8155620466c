-- What wrk sends, and how it tells what came of it: one line of JSON, as packages/lab/serving/measure.ts reads it.
local file = assert(io.open(os.getenv("BODY"), "rb"))
wrk.method = "POST"
wrk.body = file:read("*a")
file:close()
wrk.headers["content-type"] = "application/json"
wrk.headers["authorization"] = os.getenv("AUTHORIZATION")

done = function(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"rps":%.1f,"p50_us":%d,"p95_us":%d,"p99_us":%d,"errors":%d}\n',
    summary.requests / (summary.duration / 1e6),
    latency:percentile(50), latency:percentile(95), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
