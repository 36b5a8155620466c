/** Prepares the flights to score, and a network with random weights that both sides can run. */
import type { FeatureFit } from '@tenure/predictors/features'
import { textLiteral } from '../../../domain/sql-text.ts'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { withDuck } from '../../../activities/data/duckdb.ts'
import { loadRows } from '../../../activities/data/known-rows.ts'
import { rowReader } from '../../../domain/model/columns.ts'
import { readTable } from '../../../activities/data/rows.ts'
import { openSourceFiles } from '../../../activities/data/source-files.ts'
import { fitFeatures } from '../../../domain/model/preprocessing.ts'
import { planRows } from '../../../models/define/data/query.ts'
import { flightDelay } from '../../../models/flight-delay.ts'
import {
  randomLayer,
  seeded,
  type ArtifactSpec,
  type LayerSpec,
} from '../../../test/support/serving/artifact.ts'
import { sumBy } from '../../../test/support/figures.ts'

const { definition } = flightDelay
const units = 16

/** Inputs of the network for one feature: one for a number; for a category one per word and one for all other words. */
const widthOf = (fit: FeatureFit): number => (fit.kind === 'number' ? 1 : fit.vocabulary.length + 1)

export const inputsOf = (fits: readonly FeatureFit[]): number => sumBy(fits, widthOf)

/** Writes every flight with its features and a number, ordered by departure, and returns their number. */
export async function writeFlights(path: string): Promise<number> {
  mkdirSync(dirname(path), { recursive: true })
  return withDuck(async (duck) => {
    // Saves memory for the joins; the query orders the rows itself.
    const plan = planRows(definition, { asOfMs: Date.parse('2002-01-01T00:00:00Z') })
    await openSourceFiles(duck, definition.source, { declared: {} })
    await loadRows(duck, plan.known)
    const features = Object.keys(definition.features).map((name) => `"${name}"`)
    await duck.run(`
      copy (select row_number() over () - 1 as id, ${features.join(', ')} from
        (select ${features.join(', ')} from (${plan.rows}) order by departedAt, _key))
      to ${textLiteral(path)} (format parquet, compression zstd)`)
    const [counted] = await duck.rows<{ n: number }>(`select count(*) as n from ${textLiteral(path)}`)
    return counted!.n
  })
}

/** Describes the artifact of the network, fitted on a sample of the flights. */
export async function flightsSpec(path: string, model: string): Promise<ArtifactSpec> {
  const names = Object.keys(definition.features)
  const table = await withDuck((duck) =>
    readTable(duck, `(from ${textLiteral(path)} where id % 30 = 0 order by id) where true`, names),
  )
  const preprocessing = fitFeatures(table, definition.features)
  const next = seeded(7)
  return {
    model,
    features: definition.features,
    output: definition.label.output,
    preprocessing,
    layers: [
      withoutOthers(randomLayer(inputsOf(preprocessing), units, 'relu', next), preprocessing),
      randomLayer(units, 1, 'sigmoid', next),
    ],
    golden: [0, 1, 2].map(rowReader(table, names)),
  }
}

/** Sets the weights of the input for unknown categories to 0, because scikit-learn has no such input. */
function withoutOthers(layer: LayerSpec, fits: readonly FeatureFit[]): LayerSpec {
  const kernel = [...layer.kernel]
  let start = 0
  for (const fit of fits) {
    start += widthOf(fit)
    if (fit.kind === 'category') kernel.fill(0, (start - 1) * layer.units, start * layer.units)
  }
  return { ...layer, kernel }
}

/** Writes the same network for the peer: numbers first, then categories by vocabulary. */
export function writeWeights(path: string, { preprocessing, layers }: ArtifactSpec): void {
  const [first, ...rest] = layers
  const places: { fit: FeatureFit; start: number }[] = []
  let start = 0
  for (const fit of preprocessing) {
    places.push({ fit, start })
    start += widthOf(fit)
  }
  const ordered = [
    ...places.filter(({ fit }) => fit.kind === 'number'),
    ...places.filter(({ fit }) => fit.kind === 'category'),
  ]
  const rowOf = (layer: LayerSpec, input: number) =>
    layer.kernel.slice(input * layer.units, (input + 1) * layer.units).map(Math.fround)
  const kernel = ordered.flatMap(({ fit, start: from }) =>
    Array.from({ length: fit.kind === 'number' ? 1 : fit.vocabulary.length }, (_, place) =>
      rowOf(first!, from + place),
    ),
  )
  const plain = (layer: LayerSpec) => ({
    kernel: Array.from({ length: layer.kernel.length / layer.units }, (_, input) => rowOf(layer, input)),
    bias: layer.bias.map(Math.fround),
  })
  writeFileSync(
    path,
    JSON.stringify({
      units: first!.units,
      fits: ordered.map(({ fit }) => fit),
      layers: [{ kernel, bias: first!.bias.map(Math.fround) }, ...rest.map(plain)],
    }),
  )
}
