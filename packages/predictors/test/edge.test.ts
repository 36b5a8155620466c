/** Tests that a model answers at the edge as in a replica, to the bit, for each model of each format that is computed here. */
import { describe, expect, it } from 'vitest'
import {
  edgeFunctionOf,
  artifactFormats,
  formatOfFiles,
  type ArtifactFormatName,
} from '../src/format-names.ts'
import * as edge from '../src/edge.ts'
import type { FeatureFit } from '../src/features.ts'
import { fileNameOf, formatOf } from '../src/formats/all-formats.ts'
import { columnValue } from '../src/formats/trees/column-value.ts'
import type { ArtifactStages, OpenedArtifact } from '../src/formats/format.ts'
import { openOnnx } from '../src/formats/onnx/open-onnx.ts'
import { readCases, readOnnxCases, type ParityCase } from './support/parity.ts'

function lastOf(stages: ArtifactStages): OpenedArtifact {
  if (stages instanceof Promise) throw new Error('the model is opened in another process')
  for (;;) {
    const { done, value } = stages.next()
    if (done === true) return value
  }
}

const openAtEdge = (artifact: ArtifactFormatName) => edge[edgeFunctionOf({ artifact })!]

async function opened({ bytes }: ParityCase) {
  const file = fileNameOf(bytes)
  const artifact = formatOfFiles([file])
  const format = formatOf({ artifact })
  const files = { [file]: bytes }
  const { columns, outputs } = await format.inspect(files, { kind: 'number' })
  const preprocessing = columns.map(({ name }): FeatureFit => ({
    name,
    kind: 'number',
    mean: 0,
    std: 1,
    fill: null,
  }))
  const names = Array.from({ length: outputs }, (_, at) => String(at))
  const manifest = { artifact, output: { kind: 'numbers' as const, names }, preprocessing }
  return { columns, manifest, files, format, artifact }
}

const onnx = readOnnxCases()
const isCompiled = ({ bytes }: ParityCase) => {
  const { forest, network } = openOnnx(bytes)
  return (forest ?? network) !== undefined
}

describe('at the edge', () => {
  it('are all formats whose files hold the model as data', () => {
    for (const artifact of Object.keys(artifactFormats) as ArtifactFormatName[])
      expect([artifact, edgeFunctionOf({ artifact }) === undefined]).toEqual([
        artifact,
        'isCode' in artifactFormats[artifact] || 'isRemote' in artifactFormats[artifact],
      ])
  })

  it.each([...readCases(), ...onnx.filter(isCompiled)].map((each) => [each.name, each] as const))(
    '%s answers as in a replica',
    async (_name, each) => {
      const { columns, manifest, files, format, artifact } = await opened(each)
      const { predictor } = lastOf(format.open(manifest, files))
      const [first] = openAtEdge(artifact)(manifest, files)
      const own = first!()
      expect([own.inputs, own.outputs]).toEqual([predictor.inputs, predictor.outputs])
      for (const row of each.rows) {
        const input = Float64Array.from(columns, (column, at) => columnValue(column, row[at]) ?? NaN)
        const [wanted, found] = [predictor, own].map(({ run, outputs }) => {
          const output = new Float32Array(outputs)
          void run(input, 1, output)
          return output
        })
        expect(found).toEqual(wanted)
      }
    },
  )

  it.each(onnx.filter((each) => !isCompiled(each)).map((each) => [each.name, each] as const))(
    '%s is left to onnxruntime-web',
    async (_name, { bytes }) => {
      const manifest = { output: { kind: 'number' as const }, preprocessing: [] }
      expect(() => edge.openOnnxFile(manifest, { 'model.onnx': bytes })).toThrow(
        /open it with openerOfGraphs and onnxruntime-web/,
      )
    },
  )
})
