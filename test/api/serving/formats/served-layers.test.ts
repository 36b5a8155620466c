/** Tests models of other layers: each invalid model is refused before any traffic, with its reason, and without blocking the process. */
import { gzipSync } from 'node:zlib'
import { afterAll, describe, expect, it } from 'vitest'
import { createRuntimes } from '../../../../api/serving/runtime/hosts.ts'
import { goldenIssueOf, openVersion } from '../../../../api/serving/version/loaded-version.ts'
import type { Manifest } from '../../../../domain/model/manifest.ts'
import {
  irisSpec,
  artifactManifest,
  notCompiled,
  topologyOf,
  weightsOf,
} from '../../../support/serving/artifact.ts'
import { longestTurnMs } from '../../../support/main-thread.ts'

const none = { digest: `sha256:${'0'.repeat(64)}`, bytes: 0 }
const runtimes = createRuntimes({ onError: () => {} })
afterAll(() => runtimes.stop())

interface Parts {
  manifest: Manifest
  topology: ReturnType<typeof topologyOf>
  weights: Buffer
  /** Replaces the topology. */
  text?: string | Buffer
}

const load = (change: (parts: Parts) => void = () => {}) => {
  const spec = structuredClone(notCompiled(irisSpec()))
  const parts: Parts = {
    manifest: artifactManifest(spec, { 'model.json': none, 'weights.bin': none }),
    topology: topologyOf(spec),
    weights: weightsOf(spec.layers),
  }
  change(parts)
  const topology = Buffer.from(parts.text ?? JSON.stringify(parts.topology))
  return openVersion('v', parts.manifest, { 'model.json': topology, 'weights.bin': parts.weights }, runtimes)
}
const layersOf = ({ topology }: Parts) =>
  topology.modelTopology.config.layers as unknown as { class_name: string; config: Record<string, unknown> }[]
const insert = (class_name: string, config: object) => (parts: Parts) =>
  void layersOf(parts).splice(1, 0, { class_name, config: { name: 'odd', ...config } })
const paths =
  (...names: unknown[]) =>
  (parts: Parts) =>
    void Object.assign(parts.topology.weightsManifest[0]!, { paths: names })
const nested = (depth: number): string => '{"a":'.repeat(depth) + '1' + '}'.repeat(depth)
const planted = (text: string) => (parts: Parts) => {
  parts.text = JSON.stringify(parts.topology).replace('"alpha":1', `"alpha":1,${text}`)
}
const input = (name: string) => ({
  class_name: 'InputLayer',
  config: { name, batch_input_shape: [null, 4], dtype: 'float32' },
  inbound_nodes: [],
})
let made: Buffer | undefined
/** Returns 100 MB compressed to 100 kB. */
const bomb = (): Buffer => (made ??= gzipSync(Buffer.alloc(100_000_000)))
const functional =
  ({ inputs, outputs }: { inputs: string[]; outputs: string[] }) =>
  (parts: Parts) => {
    parts.topology.modelTopology.class_name = 'Model'
    Object.assign(parts.topology.modelTopology.config, {
      layers: [...inputs.map(input), ...layersOf(parts)],
      input_layers: inputs.map((name) => [name, 0, 0]),
      output_layers: outputs.map((name) => [name, 0, 0]),
    })
  }

it('a valid model of other layers is loaded and matches its golden rows', async () => {
  const loaded = await load()
  expect(goldenIssueOf(loaded)).toBeUndefined()
  expect(loaded.predictor.trouble?.()).toBeUndefined()
  loaded.predictor.close?.()
})

const refused: [string, RegExp, (parts: Parts) => void][] = [
  ['an unknown layer', /layer odd is of the type Lambda, which is not served/, insert('Lambda', {})],
  ['a layer that keeps a state', /layer odd is stateful/, insert('LSTM', { units: 2, stateful: true })],
  ['a billion repetitions', /n of layer odd is 1000000000/, insert('RepeatVector', { n: 1e9 })],
  [
    'a table of a billion rows',
    /input_dim of layer odd/,
    insert('Embedding', { input_dim: 1e9, output_dim: 1 }),
  ],
  ['a million units', /units of layer odd is 1000000/, insert('LSTM', { units: 1e6 })],
  ['more units than are served', /units of layer odd is 20000/, insert('GRU', { units: 20_000 })],
  ['a huge shape', /target_shape of layer odd/, insert('Reshape', { target_shape: [1, 1e12] })],
  [
    'a wrapped layer that is not served',
    /layer in odd is of the type Lambda/,
    insert('TimeDistributed', { layer: { class_name: 'Lambda', config: {} } }),
  ],
  [
    'wrappers in wrappers',
    /wraps a layer that wraps another/,
    insert('TimeDistributed', { layer: { class_name: 'Bidirectional', config: {} } }),
  ],
  ['texts for numbers', /layer odd is of the type "string"/, insert('Dense', { units: 2, dtype: 'string' })],
  ['two layers of one name', /the same name/, insert('LeakyReLU', { name: 'same' })],
  [
    'rows that would grow without end',
    /makes \d+ numbers of a row, more than/,
    (parts) => {
      insert('GlobalMaxPooling1D', { name: 'back' })(parts)
      insert('RepeatVector', { name: 'more', n: 65_536 })(parts)
    },
  ],
  ['a nesting of 30 levels', /the topology is nested more than 12 levels/, planted(`"x":${nested(30)}`)],
  ['a nesting of 5,000 levels', /model.json is nested more than 64 levels/, planted(`"x":${nested(5_000)}`)],
  ['a planted prototype', /has a field __proto__/, planted('"__proto__":{"x":1}')],
  ['a path above', /paths is \["\.\.\/\.\.\/etc\/passwd"\]/, paths('../../etc/passwd')],
  ['an absolute path', /paths is \["\/etc\/passwd"\]/, paths('/etc/passwd')],
  ['an address', /paths is \["http/, paths('http://127.0.0.1/weights.bin')],
  ['a path twice', /paths is \["weights.bin","weights.bin"\]/, paths('weights.bin', 'weights.bin')],
  ['a path that is not a text', /paths is \[5\]/, paths(5)],
  [
    'a topology that is packed',
    /does not parse/,
    (parts) => (parts.text = gzipSync(JSON.stringify(parts.topology))),
  ],
  ['a gzip bomb as topology', /does not parse/, (parts) => (parts.text = bomb())],
  ['a gzip bomb as weights', /weights.bin has \d+ bytes/, (parts) => (parts.weights = bomb())],
  ['truncated weights', /ends within/, (parts) => (parts.weights = parts.weights.subarray(0, -4))],
  ['a NaN weight', /holds NaN/, (parts) => parts.weights.writeFloatLE(NaN, 8)],
  [
    'missing weights',
    /does not load the model: .*(not set|weight)/i,
    (parts) => {
      const manifest = parts.topology.weightsManifest[0]!
      manifest.weights.pop()
      parts.weights = parts.weights.subarray(0, -12)
    },
  ],
  [
    'weights of another width',
    /does not load the model/,
    (parts) => (layersOf(parts)[0]!.config['units'] = 17),
  ],
  [
    'another layer than in training',
    /golden row 0 gives/,
    (parts) => (layersOf(parts)[1] = { class_name: 'ThresholdedReLU', config: { name: 'odd', theta: 9 } }),
  ],
  [
    'another answer than one list a row',
    /the network gives the shape \[, 3, 1\]/,
    (parts) =>
      void layersOf(parts).push({ class_name: 'Reshape', config: { name: 'odd', target_shape: [3, 1] } }),
  ],
  [
    'a model of no known kind',
    /of the type Graph/,
    (parts) => (parts.topology.modelTopology.class_name = 'Graph'),
  ],
  ['two inputs', /exactly one input/, functional({ inputs: ['a', 'b'], outputs: ['same'] })],
  ['two outputs', /exactly one output/, functional({ inputs: ['a'], outputs: ['same', 'a'] })],
  ['no input', /exactly one input/, functional({ inputs: [], outputs: ['same'] })],
  [
    'ten thousand golden rows',
    /10000 golden rows, more than 1000/,
    ({ manifest: { golden } }) =>
      void golden.instances.push(...Array.from({ length: 9_998 }, () => golden.instances[0]!)),
  ],
]
describe('a model of other layers', () => {
  it.each(refused)('is refused for %s', async (_name, message, change) => {
    const attempt = load(change)
    await expect(attempt).rejects.toMatchObject({ code: 'artifact_invalid' })
    await expect(attempt).rejects.toThrow(message)
  })

  it('that is refused blocks neither the event loop nor memory', async () => {
    // Made beforehand, so that only loading is measured.
    const packed = bomb()
    const deep = JSON.stringify(topologyOf(notCompiled(irisSpec()))).replace(
      '"alpha":1',
      `"x":${nested(40_000)}`,
    )
    const hostile: ((parts: Parts) => void)[] = [
      (parts) => (parts.text = packed),
      (parts) => (parts.weights = packed),
      (parts) => (parts.text = deep),
      insert('RepeatVector', { n: 1e9 }),
      insert('Embedding', { input_dim: 65_536, output_dim: 65_536 }),
      (parts) => (parts.text = '['.repeat(250_000)),
      (parts) => (parts.text = JSON.stringify({ modelTopology: Array.from({ length: 100_000 }, () => 0) })),
      (parts) => (parts.text = `{${Array.from({ length: 20_000 }, (_, i) => `"k${i}":0`).join()}}`),
    ]
    // The thread exists already; its own size is the library's.
    const first = await load()
    const before = process.memoryUsage.rss()
    const attempt = () =>
      longestTurnMs(async () => {
        for (const change of hostile) {
          await expect(load(change)).rejects.toMatchObject({ code: 'artifact_invalid' })
          await new Promise((resolve) => setTimeout(resolve, 3))
        }
      })
    // The best of some, because compilation or garbage collection may fall into one.
    const longest = [await attempt(), await attempt(), await attempt()]
    expect(Math.min(...longest)).toBeLessThan(50)
    expect(process.memoryUsage.rss() - before).toBeLessThan(50 * 1_048_576)
    first.predictor.close?.()
  })
})
