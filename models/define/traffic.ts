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

interface HaproxySpec extends HaproxyOptions {
  gateway: 'haproxy'
}

export type TrafficSpec = HaproxySpec

/** Moves the weights of the servers of a backend of HAProxy, and counts what they answer. */
export const haproxy = (options: HaproxyOptions): TrafficSpec => ({ gateway: 'haproxy', ...options })

const kinds: {
  [K in TrafficSpec['gateway']]: {
    fields: string[]
    compile(spec: Extract<TrafficSpec, { gateway: K }>): Extract<Traffic, { gateway: K }>
  }
} = {
  haproxy: {
    fields: fieldNames<HaproxySpec>({ gateway: 0, address: 0, backend: 0 }),
    compile: ({ gateway, address, backend }) => ({
      gateway,
      address: String(address),
      backend: String(backend),
    }),
  },
}

export function compileTraffic(report: IssueCollector, spec: TrafficSpec, policy: ReleasePolicy): Traffic {
  // A model file may be written without types.
  const kind = Object.hasOwn(kinds, spec.gateway) ? kinds[spec.gateway] : undefined
  if (kind !== undefined) reportUnknown(report, 'traffic', spec, kind.fields)
  const traffic = kind?.compile(spec) ?? (spec as Traffic)
  for (const issue of issuesOfTraffic(traffic, policy)) report('traffic', issue)
  return traffic
}
