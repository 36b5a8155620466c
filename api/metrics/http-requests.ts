/**
 * Counts HTTP requests by route and status, with their durations. A route is its declared pattern, so that a caller cannot create series.
 * Predictions have no durations here: `tenure_prediction_seconds` has them, and reading the clock twice would slow predictions down.
 */

/** Upper bounds of the duration buckets, in seconds. */
export const durationBounds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

export interface RouteCount {
  method: string
  /** The declared path, such as `/v1/models/:name`; `other` for a path without a route. */
  route: string
  status: number
  requests: number
  /** The number of requests up to each bound; the last counts all requests with a duration. */
  buckets: Uint32Array
  seconds: number
}

export interface HttpRequests {
  /** Returns the counter of a route and status. A caller on a hot path keeps it and increments `requests`. */
  of(method: string, route: string, status: number): RouteCount
  add(method: string, route: string, status: number, seconds: number): void
  list(): Iterable<RouteCount>
}

export function createHttpRequests(): HttpRequests {
  const counts = new Map<string, RouteCount>()
  const of: HttpRequests['of'] = (method, route, status) => {
    const name = `${status} ${method} ${route}`
    const known = counts.get(name)
    if (known !== undefined) return known
    const buckets = new Uint32Array(durationBounds.length + 1)
    const fresh = { method, route, status, requests: 0, buckets, seconds: 0 }
    counts.set(name, fresh)
    return fresh
  }
  return {
    of,
    add(method, route, status, seconds) {
      const count = of(method, route, status)
      count.requests++
      count.seconds += seconds
      durationBounds.forEach((bound, index) => void (count.buckets[index]! += Number(seconds <= bound)))
      count.buckets[durationBounds.length]!++
    },
    list: () => counts.values(),
  }
}

/** The counts of this process, like prom-client's default metrics. */
export const httpRequests = createHttpRequests()
