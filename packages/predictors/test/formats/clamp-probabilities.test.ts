/** Tests that a probability slightly outside 0 to 1 because of 32-bit rounding is not an invalid answer. */
import { expect, it } from 'vitest'
import { onnxFormat } from '../../src/formats/onnx/format.ts'
import type { OpenedArtifact } from '../../src/formats/format.ts'
import type { ModelDescription } from '../../src/features.ts'
import { treeModel } from '../support/onnx-trees.ts'

it.each(['probability', 'number'])(
  'rounds a %s by at most the 32-bit error, and hides nothing else',
  (kind) => {
    const bytes = treeModel({ target_weights: { floats: [1.000_000_1, -0.000_000_1, 0, 0.001] } })
    const features = { a: { kind: 'number' }, b: { kind: 'number' } }
    const preprocessing = ['a', 'b'].map((name) => ({ name, kind: 'number', mean: 0, std: 1, fill: null }))
    const manifest = { features, preprocessing, output: { kind } } as unknown as ModelDescription
    const opening = onnxFormat.open(manifest, { 'model.onnx': bytes }) as Generator<void, OpenedArtifact>
    opening.next()
    const { predictor } = opening.next().value as OpenedArtifact
    const output = new Float32Array(4)
    void predictor.run(Float64Array.of(0, -1, 9, -1, 0, 9, 9, 9), 4, output)
    const [high, low] = kind === 'number' ? [1.000_000_1, -0.000_000_1] : [1, 0]
    expect([...output.subarray(0, 2)]).toEqual([Math.fround(high!), Math.fround(low!)])
    expect([...output.subarray(2)]).toEqual([1.001, 0.001].map((each) => expect.closeTo(each, 6)))
  },
)
