/** Defines what a state file describes: models, kill switches, keys, alert channels and schedules, each as a named value. */
import { canonicalJson } from '../canonical-json.ts'

/** In the order in which changes are applied: a kill switch or a schedule needs its model. */
export const resourceKinds = ['model', 'key', 'channel', 'killSwitch', 'schedule'] as const
export type ResourceKind = (typeof resourceKinds)[number]

export type ResourceValue = Readonly<Record<string, unknown>>

export interface Resource {
  kind: ResourceKind
  /** Of a schedule its id, such as `retrain/iris`; of a kill switch its model. */
  name: string
  value: ResourceValue
}

/** What an apply has set last. */
export interface AppliedResource extends Resource {
  /** ISO 8601. */
  at: string
  actor: string
}

export interface ResourceChange {
  kind: ResourceKind
  name: string
  /** Absent for what is added. */
  before?: ResourceValue
  /** Absent for what is deleted. */
  after?: ResourceValue
}

/** What a resource without a row is; undefined where it does not exist. */
const absent: Partial<Record<ResourceKind, ResourceValue>> = { killSwitch: { serve: 'normal' } }

/** How texts call a kind. */
export const kindNames: Readonly<Record<ResourceKind, string>> = {
  model: 'model',
  key: 'key',
  channel: 'channel',
  killSwitch: 'kill switch',
  schedule: 'schedule',
}

export const addressOf = ({ kind, name }: Pick<Resource, 'kind' | 'name'>): string =>
  `${kindNames[kind]} ${name}`

/** The model to which a resource belongs; undefined for one of the installation. */
export const modelOfResource = ({ kind, name }: Pick<Resource, 'kind' | 'name'>): string | undefined =>
  kind === 'schedule'
    ? name.slice(name.indexOf('/') + 1)
    : kind === 'key' || kind === 'channel'
      ? undefined
      : name

/** By kind and name. */
export function findResourceValue(
  resources: readonly Resource[],
  { kind, name }: Pick<Resource, 'kind' | 'name'>,
): ResourceValue | undefined {
  return resources.find((each) => each.kind === kind && each.name === name)?.value ?? absent[kind]
}

export const isEqualValue = (one?: ResourceValue, other?: ResourceValue): boolean =>
  one === undefined || other === undefined ? one === other : canonicalJson(one) === canonicalJson(other)

/** What tells one state of a resource from another: of a model the digest of its code, which covers its file and what it imports. */
export const identityOf = (kind: ResourceKind, value?: ResourceValue): ResourceValue | undefined =>
  kind === 'model' && value !== undefined ? { code: value['code'] } : value
