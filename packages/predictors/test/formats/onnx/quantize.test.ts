/** Tests which ONNX files are refused before the tool that quantizes them runs, and what is said when it fails. */
import { tmpdir } from 'node:os'
import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { onnxFormat } from '../../../src/formats/onnx/format.ts'
import type { ModelDescription } from '../../../src/features.ts'
import { operatorModel } from '../../support/onnx-graphs.ts'
import { graph, model, node, value } from '../../support/onnx-writer.ts'
import { treeModel } from '../../support/onnx-trees.ts'

const folder = mkdtempSync(join(tmpdir(), 'tenure-quantize-test-'))
afterAll(() => rmSync(folder, { recursive: true }))

const compress = (bytes: Uint8Array, command?: string[]) =>
  onnxFormat.compress!(
    {} as ModelDescription,
    { 'model.onnx': bytes },
    { to: 'int8', meanDifference: 0.01, quantizer: command && { command, folder } },
    () => ({
      input: new Float64Array(3),
      rows: 1,
      width: 3,
    }),
  )
const network = operatorModel('Relu', {})
const parts = ['q', 'scale', 'zero']
const quantized = model(
  graph({
    nodes: [
      node({ op: 'DynamicQuantizeLinear', inputs: ['x'], outputs: parts }),
      node({ op: 'DequantizeLinear', inputs: parts, outputs: ['y'] }),
    ],
  }),
)
const texts = model(
  graph({
    nodes: [
      node({ op: 'Identity', inputs: ['x'], outputs: ['y'] }),
      node({ op: 'Identity', inputs: ['t'], outputs: ['same'] }),
    ],
    inputs: [value('x', [0, 1]), value('t', [0, 1], 8)],
  }),
)

it.each([
  ['trees', treeModel(), /TreeEnsemble\w+ has no weights to compress: compress the file of the library/],
  ['weights of 8 bits', quantized, 'the graph is quantized already: it has DynamicQuantizeLinear'],
  ['texts', texts, 'the graph takes texts, and the tool chooses its scales by rows of numbers'],
])('%s are refused', async (_, bytes, why) => {
  await expect(compress(bytes, ['false'])).rejects.toThrow(why)
})

it('says what the tool has said when it fails, and that it is missing', async () => {
  await expect(compress(network)).rejects.toThrow('no tool to quantize ONNX files is set up')
  await expect(compress(network, ['sh', '-c', 'echo no such module >&2; exit 3'])).rejects.toThrow(
    'the tool of ONNX Runtime ended with 3: no such module',
  )
  await expect(compress(network, ['sh', '-c', `echo '{"refused": "no matrix"}'`])).rejects.toThrow(
    'no matrix',
  )
})
