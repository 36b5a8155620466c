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

export interface SagemakerOptions {
  /** The region of AWS, such as `eu-west-1`. */
  region: string
  /** The endpoint of the model. Each of its production variants has the name of a version, with hyphens: `roses-v1-2-0`. */
  endpoint: string
  /** The name of the secret with the key of AWS, never the key. */
  secret: string
  /** Other addresses than those of AWS in its region, such as those of VPC endpoints. */
  addresses?: {
    /** Where weights are read and set. */
    sagemaker: string
    /** Where the requests are counted. */
    cloudwatch: string
  }
}

interface SagemakerSpec extends SagemakerOptions {
  gateway: 'sagemaker'
}

export type TrafficSpec = HaproxySpec | SagemakerSpec

/** Moves the weights of the servers of a backend of HAProxy, and counts what they answer. */
export const haproxy = (options: HaproxyOptions): TrafficSpec => ({ gateway: 'haproxy', ...options })

/** Moves the weights of the production variants of an endpoint of SageMaker, and reads their counts from CloudWatch. */
export const sagemaker = (options: SagemakerOptions): TrafficSpec => ({ gateway: 'sagemaker', ...options })

const addressFields = fieldNames<SagemakerOptions['addresses'] & {}>({ sagemaker: 0, cloudwatch: 0 })

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
  sagemaker: {
    fields: fieldNames<SagemakerSpec>({ gateway: 0, region: 0, endpoint: 0, secret: 0, addresses: 0 }),
    compile: ({ gateway, region, endpoint, secret, addresses }) => ({
      gateway,
      region: String(region),
      endpoint: String(endpoint),
      secret: String(secret),
      ...(addresses && {
        addresses: {
          sagemaker: String(addresses.sagemaker),
          cloudwatch: String(addresses.cloudwatch),
        },
      }),
    }),
  },
}

export function compileTraffic(report: IssueCollector, spec: TrafficSpec, policy: ReleasePolicy): Traffic {
  // A model file may be written without types.
  const kind = Object.hasOwn(kinds, spec.gateway) ? kinds[spec.gateway] : undefined
  if (kind !== undefined) reportUnknown(report, 'traffic', spec, kind.fields)
  if (spec.gateway === 'sagemaker' && spec.addresses !== undefined)
    reportUnknown(report, 'traffic.addresses', spec.addresses, addressFields)
  const traffic = (kind?.compile as ((each: TrafficSpec) => Traffic) | undefined)?.(spec) ?? (spec as Traffic)
  for (const issue of issuesOfTraffic(traffic, policy)) report('traffic', issue)
  return traffic
}
