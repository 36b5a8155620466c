/** Tests that predictions on columns equal a replica's bit by bit, refuse what a replica refuses, and fall back where they would differ. */
import { denseNetworkOf, type Network } from '@tenure/predictors'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ColumnBlock } from '../../../../api/serving/columnar/column-source.ts'
import { compileColumns } from '../../../../api/serving/columnar/column-predictor.ts'
import { createInputBuffer, resetInput } from '../../../../api/serving/codec/input-buffer.ts'
import { loadVersion, readRow, type LoadedVersion } from '../../../../api/serving/version/loaded-version.ts'
import { batchLayoutOf, textCodes, type BatchLayout } from '../../../../domain/model/batch-spec.ts'
import type { FeatureRow } from '../../../../domain/model/features.ts'
import { getArtifact, openArtifacts } from '../../../../store/artifacts.ts'
import {
  flightSpec,
  putArtifact,
  randomLayer,
  seeded,
  type ArtifactSpec,
} from '../../../support/serving/artifact.ts'

let root: string
beforeAll(() => void (root = mkdtempSync(join(tmpdir(), 'tenure-sparse-'))))
afterAll(() => rmSync(root, { recursive: true }))

const load = async (
  spec: ArtifactSpec,
): Promise<{ loaded: LoadedVersion; network: Network; layout: BatchLayout }> => {
  const { manifest, files } = await getArtifact(openArtifacts(root), await putArtifact(root, spec))
  const loaded = loadVersion('v', manifest, files)
  return {
    loaded,
    network: denseNetworkOf(manifest, files)!,
    layout: batchLayoutOf(manifest.features, manifest.preprocessing),
  }
}

/** Columns as DuckDB returns them. */
const blockOf = ({ numbers, texts }: BatchLayout, rows: readonly FeatureRow[]): ColumnBlock => ({
  rows: rows.length,
  numbers: numbers.map((name) => Float64Array.from(rows, (row) => (row[name] as number | null) ?? NaN)),
  texts: texts.map(({ name, codes }) =>
    Int32Array.from(rows, (row) => {
      const text = row[name] as string | null
      if (text === null) return textCodes.missing
      const code = codes.indexOf(text)
      return code >= 0 ? code : text.includes('\0') ? textCodes.refused : textCodes.other
    }),
  ),
})

const next = seeded(5)
const pick = <T>(values: readonly T[]): T => values[Math.floor(((next() + 1) / 2) * values.length)]!
const drawn = (count: number): FeatureRow[] =>
  Array.from({ length: count }, () => ({
    distance: pick([null, 300, next() * 1_000, -0, 1e39, 1e300, Infinity]),
    hour: pick([8, next() * 24, 23, null]),
    origin: pick(['ATL', 'ORD', 'XNA', 'a\0', null]),
    day: pick(['workday', 'weekend', 'noday', null]),
  }))

/** Returns the result of a replica: bits, or an unreadable row. */
function served(loaded: LoadedVersion, rows: readonly FeatureRow[]): (number | undefined)[] {
  const { predictor, columns } = loaded
  const [input, output] = [createInputBuffer(), new Float32Array(predictor.outputs)]
  return rows.map((row) => {
    resetInput(input, columns, 1)
    try {
      readRow(loaded, row, 0, input)
    } catch {
      return undefined
    }
    void predictor.run(input.input, 1, output)
    return output[0]!
  })
}

const layers = {
  'one layer': [randomLayer(8, 1, 'sigmoid', next)],
  'two layers, the first with relu': [randomLayer(8, 6, 'relu', next), randomLayer(6, 1, 'sigmoid', next)],
  'three layers': [
    randomLayer(8, 8, 'tanh', next),
    randomLayer(8, 5, 'linear', next),
    randomLayer(5, 1, 'sigmoid', next),
  ],
}

describe.each(Object.entries(layers))('%s', (_name, of) => {
  it('predicts bit by bit as a replica, without its loops over all inputs', async () => {
    const { loaded, network, layout } = await load({ ...flightSpec(), layers: of })
    const rows = [...loaded.manifest.golden.instances, ...drawn(1_000)]
    const wanted = served(loaded, rows)
    let asked = 0
    const watched = {
      ...loaded,
      predictor: {
        ...loaded.predictor,
        run: (...given: Parameters<typeof loaded.predictor.run>) => {
          asked++
          return loaded.predictor.run(...given)
        },
      },
    }
    for (const network_ of [network, undefined]) {
      const answer = compileColumns(watched, layout, network_)
      const [outputs, refused] = [new Float32Array(rows.length), new Uint8Array(rows.length)]
      await answer(blockOf(layout, rows), outputs, refused)
      asked = 0
      await answer(blockOf(layout, rows), outputs, refused)
      expect(asked > 0).toBe(network_ === undefined)
      expect(Array.from(refused, (mark, row) => (mark === 0 ? outputs[row]! : undefined))).toEqual(wanted)
    }
    expect(wanted.filter((each) => each === undefined).length).toBeGreaterThan(100)
    expect(wanted.filter((each) => each !== undefined).length).toBeGreaterThan(100)
  })
})

it('the predictor falls back to the loops of the replica when its bits differ', async () => {
  const { loaded, network, layout } = await load({ ...flightSpec(), layers: layers['one layer'] })
  const [first] = network.layers
  const other = { ...network, layers: [{ ...first!, bias: first!.bias.map((value) => value + 1e-3) }] }
  const rows = loaded.manifest.golden.instances
  const outputs = new Float32Array(rows.length)
  await compileColumns(loaded, layout, other)(blockOf(layout, rows), outputs, new Uint8Array(rows.length))
  expect([...outputs]).toEqual(served(loaded, rows))
})
