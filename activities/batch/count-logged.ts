/** Counts logged rows of a batch in the bins of the version's profile, as a replica counts its requests, so that drift is judged from both. */
import type { FeatureRow } from '../../domain/model/features.ts'
import type { Manifest } from '../../domain/model/manifest.ts'
import {
  answerProfiles,
  countBins,
  defaultCountMs,
  roundedProfile,
  scoreOfAnswer,
} from '../../domain/model/reference-profile.ts'
import type { Batch } from '../../store/serving/batches.ts'
import type { FeatureCounts } from '../../store/serving/feature-counts.ts'

export function countLogged(
  { model, version, startedAt }: Pick<Batch, 'model' | 'version' | 'startedAt'>,
  { features, output, profile }: Pick<Manifest, 'features' | 'output' | 'profile'>,
  rows: readonly FeatureRow[],
  answers: readonly Float32Array[],
): FeatureCounts[] {
  if (profile === undefined || rows.length === 0) return []
  const { everyMs = defaultCountMs } = profile
  const atMs = Date.parse(startedAt)
  const span = { model, version, hourMs: atMs - (atMs % everyMs) }
  const valuesOf = (name: string) =>
    rows.map(({ [name]: value = null }) => (typeof value === 'number' ? Math.fround(value) : value))
  const counted = profile.features.map((each): FeatureCounts => {
    const counts = countBins(roundedProfile(each), valuesOf(each.name))
    return { ...span, kind: 'feature', name: each.name, counts }
  })
  const scored = answerProfiles(profile).map((each, place): FeatureCounts => {
    const counts = countBins(
      each,
      answers.map((outputs) => scoreOfAnswer(output, outputs, place)),
    )
    return { ...span, kind: 'score', name: each.name, counts }
  })
  const limited = Object.entries(features).flatMap(([name, feature]): FeatureCounts[] => {
    if (feature.kind !== 'number' || (feature.min ?? feature.max) === undefined) return []
    const { min = -Infinity, max = Infinity } = feature
    const given = valuesOf(name).filter((value) => typeof value === 'number')
    const within = given.filter((value) => value >= Math.fround(min) && value <= Math.fround(max)).length
    return [{ ...span, kind: 'range', name, counts: [within, given.length - within] }]
  })
  return [...counted, ...scored, ...limited]
}
