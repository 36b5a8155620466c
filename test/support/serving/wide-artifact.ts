/** Describes a network over as many features of one kind as a test needs. */
import type { FeatureFit } from '@tenure/predictors/features'
import { randomLayer, seeded, type ArtifactSpec } from './artifact.ts'
import type { Feature } from '../../../domain/model/features.ts'

/** Numbers; numbers of which one outside its range is filled; or texts. */
export type WideKind = 'numbers' | 'guarded numbers' | 'texts'

export const wideNames = (width: number): string[] => Array.from({ length: width }, (_, at) => `f${at}`)

export function wideSpec(width: number, kind: WideKind): ArtifactSpec {
  const names = wideNames(width)
  const guarded: Feature = { kind: 'number', min: 0, max: 1e9, missing: 'fill', outside: 'missing' }
  const feature: Feature =
    kind === 'texts' ? { kind: 'category' } : kind === 'numbers' ? { kind: 'number' } : guarded
  const preprocessing = names.map((name): FeatureFit =>
    kind === 'texts'
      ? { name, kind: 'category', vocabulary: ['a'] }
      : { name, kind: 'number', mean: 0, std: 1, fill: 0 },
  )
  const row = Object.fromEntries(names.map((name) => [name, kind === 'texts' ? 'a' : 1]))
  return {
    model: 'wide',
    features: Object.fromEntries(names.map((name) => [name, feature])),
    output: { kind: 'number' },
    preprocessing,
    layers: [randomLayer(kind === 'texts' ? 2 * width : width, 1, 'linear', seeded(3))],
    golden: [row],
  }
}
