-- wrk: what came of a load, as one line of JSON.

function done(summary, latency)
    local errors = summary.errors
    print(("JSON {\"answers\": %d, \"refused\": %d, \"broken\": %d, \"us\": %d, \"p50\": %d, \"p99\": %d}"):format(
        summary.requests, errors.status, errors.connect + errors.read + errors.write + errors.timeout,
        summary.duration, latency:percentile(50), latency:percentile(99)))
end
