/** Parses the path of a prediction request. Clients use few paths many times, so each path is parsed once. */
import { percentDecoded } from '../../domain/addresses/percent-decoded.ts'
import type { RouteCount } from '../metrics/http-requests.ts'
import type { Protocol } from '../serving/request/protocol.ts'

export interface Target {
  /**
   * `predict`: the API of Tenure; `infer`: the Open Inference Protocol; `grpc`: that protocol over gRPC; `kserve`: KServe version 1;
   * `mlflow`: `/invocations`.
   */
  protocol: 'predict' | 'infer' | 'grpc' | 'kserve' | 'mlflow'
  /** Empty when the path names no model. */
  model: string
  /** The only version that may serve the request. */
  version?: string
  /** Converts the messages of a `grpc` request; absent for other protocols. */
  messages?: Protocol
  /** The counter of this route's responses, set by the first response. */
  answered?: RouteCount
}

/** Limits the memory for a client that sends a new path each time. */
const maxPaths = 1_000

export function createTargetParser(): (
  method: string | undefined,
  path: string | undefined,
) => Target | undefined {
  const known = new Map<string, Target>()
  return (method, path) => {
    if (method !== 'POST' || path === undefined) return undefined
    const found = known.get(path) ?? targetOf(path)
    if (found === undefined) return undefined
    if (known.size >= maxPaths) known.clear()
    known.set(path, found)
    return found
  }
}

/** The suffix of a prediction path in KServe version 1. */
export const kserveSuffix = ':predict'

/** Clients of a proxy send the whole URL as the target. */
const origin = /^https?:\/\/[^/?]*/i

/** Decodes each path segment separately, as the router of the application does. */
function targetOf(path: string): Target | undefined {
  const [plain = ''] = path.replace(origin, '').split('?')
  if (plain === '/invocations') return { protocol: 'mlflow', model: '' }
  const [start, root, models, model, ...rest] = plain.split('/').map(percentDecoded)
  if (start !== '' || models !== 'models' || model === undefined || model === '') return undefined
  const [first, version, last] = rest
  if (rest.length === 0 && root === 'v1' && model.endsWith(kserveSuffix) && model !== kserveSuffix)
    return { protocol: 'kserve', model: model.slice(0, -kserveSuffix.length) }
  if (rest.length === 1 && root === 'v1' && first === 'invocations') return { protocol: 'mlflow', model }
  if (rest.length === 1 && root === 'v1' && first === 'predict') return { protocol: 'predict', model }
  if (rest.length === 1 && root === 'v2' && first === 'infer') return { protocol: 'infer', model }
  if (rest.length !== 3 || root !== 'v2' || first !== 'versions' || last !== 'infer') return undefined
  return version ? { protocol: 'infer', model, version } : undefined
}
