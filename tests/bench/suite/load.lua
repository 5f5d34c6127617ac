-- For wrk: posts one JMAP request again and again, and prints what was measured as JSON.
-- BENCH_REQUEST is a file with the body, BENCH_HEADERS one with a header field a line.
local function lines_of(name)
  local file = assert(io.open(os.getenv(name), "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

wrk.method = "POST"
wrk.body = lines_of("BENCH_REQUEST")
for name, value in lines_of("BENCH_HEADERS"):gmatch("([^:\n]+): ([^\n]*)") do wrk.headers[name] = value end

function done(summary, latency, requests)
  local e = summary.errors
  io.stderr:write(string.format(
    '{"requests":%d,"duration_us":%d,"median_us":%g,"bytes":%d,"refused":%d,"broken":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), summary.bytes, e.status,
    e.connect + e.read + e.write + e.timeout))
end
