/** Determines which features the versions of a model look up, once for each version and route. */
import type { FeatureOrigin, FeatureValue } from '../../../domain/model/feature-view.ts'
import { entityKey } from '../../../domain/values/names.ts'
import type { Feature, FeatureRow } from '../../../domain/model/features.ts'
import { textIssue } from '../../../domain/values/media.ts'
import { fitsSingle } from '../../../domain/model/preprocessing.ts'
import type { ReplicaRouting } from '../routing/routing.ts'
import type { ActiveRoute } from '../routing/route-table.ts'
import type { LoadedVersion } from '../version/loaded-version.ts'

export interface LookedUp {
  name: string
  from: FeatureOrigin
  /** Whether the version accepts this value. */
  fits: (value: FeatureValue) => boolean
}

/** The features that all versions of one model look up. */
export interface Needs {
  all: readonly LookedUp[]
  /** Fields that name an entity for some version and are not a feature of another version. */
  fields: ReadonlySet<string>
}

export type NeedsOf = ReturnType<typeof createNeeds>

export function createNeeds(routing: Pick<ReplicaRouting, 'loaded'>) {
  const ofVersions = new WeakMap<LoadedVersion, readonly LookedUp[]>()
  const ofModels = new WeakMap<ActiveRoute, Needs>()
  const version = (loaded: LoadedVersion): readonly LookedUp[] => {
    const known = ofVersions.get(loaded)
    if (known !== undefined) return known
    const found = Object.entries(loaded.manifest.features).flatMap(([name, feature]): LookedUp[] =>
      feature.from === undefined ? [] : [{ name, from: feature.from, fits: fitOf(feature) }],
    )
    ofVersions.set(loaded, found)
    return found
  }
  return {
    version,
    model(live: ActiveRoute): Needs {
      const known = ofModels.get(live)
      if (known !== undefined) return known
      const all = [...routing.loaded()].filter(({ model }) => model === live.route.model).flatMap(version)
      const found = { all, fields: new Set(all.flatMap(({ from }) => from.by)) }
      ofModels.set(live, found)
      return found
    },
  }
}

/** Returns the entity that a row names. */
export const entityOf = ({ by }: FeatureOrigin, row: FeatureRow): string | undefined =>
  entityKey(by.map((field) => (Object.hasOwn(row, field) ? row[field] : undefined)))

/** Returns whether the row reader accepts a value. Without this check, the caller would get an error for a value that it did not send. */
function fitOf(feature: Feature): LookedUp['fits'] {
  if (feature.kind === 'number')
    return (value) => value === null || (typeof value === 'number' && fitsSingle(value))
  const values =
    feature.kind === 'category' && feature.values !== undefined ? new Set(feature.values) : undefined
  return (value) =>
    value === null ||
    (typeof value === 'string' &&
      textIssue(feature, value) === undefined &&
      !value.includes('\0') &&
      (values === undefined || values.has(value)))
}
