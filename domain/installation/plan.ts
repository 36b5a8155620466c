/** Compares the state that a file describes with the live one and with the last applied one. Pure: it changes nothing. */
import {
  addressOf,
  findResourceValue,
  identityOf,
  isEqualValue,
  resourceKinds,
  type AppliedResource,
  type Resource,
  type ResourceChange,
  type ResourceKind,
  type ResourceValue,
} from './resource.ts'

export interface DesiredState {
  /** The sections of the file. Resources of other kinds are left as they are. */
  kinds: readonly ResourceKind[]
  resources: readonly Resource[]
}

/** A resource that is not as the last apply has left it. */
export interface ChangedByHand {
  kind: ResourceKind
  name: string
  applied: ResourceValue
  /** Absent for what was deleted. */
  live?: ResourceValue
  /** Of that apply; ISO 8601. */
  at: string
  actor: string
}

export interface StatePlan {
  changes: ResourceChange[]
  /** Live, and not named in the file: deleted by `--prune` only. */
  kept: Pick<Resource, 'kind' | 'name'>[]
  changedByHand: ChangedByHand[]
}

/** Sets of a schedule only what the file names; of every other kind the whole value. */
const desiredValue = ({ kind, value }: Resource, live?: ResourceValue): ResourceValue =>
  kind === 'schedule' ? { ...live, ...value } : value

/** A schedule belongs to its model and is not deleted by itself. */
const isPruned = (kind: ResourceKind): boolean => kind !== 'schedule'

export function planState(
  desired: DesiredState,
  live: readonly Resource[],
  { applied = [], prune = false }: { applied?: readonly AppliedResource[]; prune?: boolean } = {},
): StatePlan {
  const changes: ResourceChange[] = []
  for (const resource of desired.resources) {
    const { kind, name } = resource
    const before = findResourceValue(live, resource)
    const after = desiredValue(resource, before)
    if (!isEqualValue(before, after)) changes.push({ kind, name, before, after })
  }
  const unnamed = live.filter(
    (each) =>
      desired.kinds.includes(each.kind) &&
      isPruned(each.kind) &&
      !desired.resources.some(({ kind, name }) => kind === each.kind && name === each.name),
  )
  if (prune)
    for (const { kind, name, value } of unnamed)
      changes.push({ kind, name, before: value, after: findResourceValue([], { kind, name }) })
  return {
    changes: inOrder(changes),
    kept: prune ? [] : unnamed.map(({ kind, name }) => ({ kind, name })),
    changedByHand: changedSince(applied, live),
  }
}

export function changedSince(
  applied: readonly AppliedResource[],
  live: readonly Resource[],
): ChangedByHand[] {
  return applied.flatMap(({ value, ...each }) => {
    const { kind } = each
    const now = identityOf(kind, findResourceValue(live, each))
    return isEqualValue(identityOf(kind, value), now) ? [] : [{ ...each, applied: value, live: now }]
  })
}

/** Models first. A kind keeps the order of the file. */
function inOrder(changes: readonly ResourceChange[]): ResourceChange[] {
  return resourceKinds.flatMap((kind) => changes.filter((change) => change.kind === kind))
}

/** How texts name a changed resource. Without an apply, only a sync changes a model. */
export const textOfChanged = (changed: Pick<ChangedByHand, 'kind' | 'name'>): string =>
  changed.kind === 'model' ? `${addressOf(changed)} by \`tenure models sync\`` : addressOf(changed)

/** A field of a value that differs; `undefined` where it is absent. */
export interface ChangedField {
  path: string
  before: unknown
  after: unknown
}

/** A value as the database returns it: JSON, without the fields that are undefined. */
export const asStored = <T>(value: T): T => JSON.parse(JSON.stringify(value)) as T

/** The differing fields at any depth: `definition.release.canary.0.bp`. */
export function changedFields(before: unknown, after: unknown, path = ''): ChangedField[] {
  if (isNested(before) && isNested(after) && Array.isArray(before) === Array.isArray(after)) {
    const names = new Set([...Object.keys(before), ...Object.keys(after)])
    return [...names].flatMap((name) =>
      changedFields(before[name], after[name], path === '' ? name : `${path}.${name}`),
    )
  }
  if (before === after) return []
  if (isNested(before) && after === undefined)
    return Object.entries(before).flatMap(([name, each]) =>
      changedFields(each, undefined, joined(path, name)),
    )
  if (isNested(after) && before === undefined)
    return Object.entries(after).flatMap(([name, each]) => changedFields(undefined, each, joined(path, name)))
  return [{ path, before, after }]
}

const joined = (path: string, name: string): string => (path === '' ? name : `${path}.${name}`)

const isNested = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null
