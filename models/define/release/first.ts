/** Compiles the `first` of a canary: the callers who get the candidate before any share of the traffic. */
import type { Features } from '../../../domain/model/features.ts'
import type { TargetedPolicy } from '../../../domain/release/policy.ts'
import type { CallerTarget } from '../../../domain/serving/target.ts'
import type { Duration, DurationReader } from '../duration.ts'
import { fieldNames, reportUnknown } from '../fields.ts'
import type { IssueCollector } from '../issues.ts'
import { minuteMs, timesOf } from './times.ts'

/** Set exactly one of `header`, `attribute` and `allowList`. */
export interface FirstSpec {
  /** A header of the request with its value: `'x-preview: on'`. Records of a stream have headers too. */
  header?: string
  /** A feature and the value that it must have in every row of the request: `{ origin: 'JFK' }`. */
  attribute?: Readonly<Record<string, string | number>>
  /** Routing keys: `['user-7', 'user-12']`. */
  allowList?: readonly string[]
  /** The minimum time of the stage. Default: 30 min. */
  soak?: Duration
  /** The minimum number of requests of these callers. Default: 50. */
  requests?: number
  /** The time after which the stage ends. Default: eight times the soak. */
  deadline?: Duration
}

const firstFields = fieldNames<FirstSpec>({
  header: 0,
  attribute: 0,
  allowList: 0,
  soak: 0,
  requests: 0,
  deadline: 0,
})

const place = 'release.first'

/** Returns undefined for a target that was reported as an issue. */
export function compileFirst(
  report: IssueCollector,
  at: DurationReader,
  spec: FirstSpec,
  features: Features | undefined,
): TargetedPolicy | undefined {
  reportUnknown(report, place, spec, firstFields)
  const target = targetOf(report, spec, features)
  const times = timesOf(at, { soakMs: 30 * minuteMs, deadlineMs: undefined, requests: 50 })
  return target && { ...times('first', spec), target }
}

function targetOf(
  report: IssueCollector,
  { header, attribute, allowList }: FirstSpec,
  features: Features | undefined,
): CallerTarget | undefined {
  const refuse = (where: string, message: string): undefined => {
    report(`${place}${where}`, message)
    return undefined
  }
  const given = [header, attribute, allowList].filter((each) => each !== undefined)
  if (given.length !== 1)
    return refuse('', `name the callers by one of header, attribute and allowList, not by ${given.length}`)
  if (allowList !== undefined) return { routingKeys: [...allowList] }
  if (header !== undefined) {
    const [, name, value] = /^([^:]+):(.*)$/.exec(header) ?? []
    if (name === undefined)
      return refuse('.header', `a name and a value such as 'x-preview: on' are required, not '${header}'`)
    return { header: { name: name.trim().toLowerCase(), value: value!.trim() } }
  }
  const [[name, value] = ['', ''], ...more] = Object.entries(attribute!)
  if (name === '' || more.length > 0)
    return refuse(
      '.attribute',
      `one feature with its value is required, not ${more.length + Number(name !== '')}`,
    )
  const issue = features && issueOfFeature(features, name, value)
  if (issue !== undefined) return refuse('.attribute', issue)
  return { attribute: { name, value } }
}

/** Returns why no request can have the value; undefined if one can. */
function issueOfFeature(features: Features, name: string, value: string | number): string | undefined {
  const feature = features[name]
  if (feature === undefined)
    return `there is no feature ${name}; the features are ${Object.keys(features).join(', ')}`
  if (feature.kind === 'number')
    return typeof value === 'number' ? undefined : `${name} is a number, so '${value}' never matches`
  if (typeof value !== 'string') return `${name} is a text, so ${value} never matches`
  return feature.values?.includes(value) === false
    ? `${name} has no value '${value}'; it has ${feature.values.join(', ')}`
    : undefined
}
