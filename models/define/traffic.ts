/** Compiles the `traffic` of a model file: the gateway that passes its requests, where callers do not ask this system. */
import { issuesOfTraffic, type Traffic } from '../../domain/serving/gateway.ts'
import type { ReleasePolicy } from '../../domain/release/policy.ts'
import { fieldNames, reportUnknown } from './fields.ts'
import type { IssueCollector } from './issues.ts'

export interface HaproxyOptions {
  /** Host and port of the runtime socket (`stats socket … level admin`). A private host must be in TENURE_PRIVATE_HOSTS. */
  address: string
  /** The backend of the model. Each of its servers has the name of a version. */
  backend: string
}

export interface TrafficSpec extends HaproxyOptions {
  gateway: 'haproxy'
}

/** Moves the weights of the servers of a backend of HAProxy, and counts what they answer. */
export const haproxy = (options: HaproxyOptions): TrafficSpec => ({ gateway: 'haproxy', ...options })

const fields = fieldNames<TrafficSpec>({ gateway: 0, address: 0, backend: 0 })

export function compileTraffic(report: IssueCollector, spec: TrafficSpec, policy: ReleasePolicy): Traffic {
  reportUnknown(report, 'traffic', spec, fields)
  const { gateway, address, backend } = spec
  const traffic = { gateway, address: String(address), backend: String(backend) }
  for (const issue of issuesOfTraffic(traffic, policy)) report('traffic', issue)
  return traffic
}
