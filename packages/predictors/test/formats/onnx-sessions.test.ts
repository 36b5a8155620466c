/** Tests that graphs run in ONNX Runtime in a child process whose crash, delay or memory use affects no other model. */
import { execFileSync } from 'node:child_process'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { openSessionOf } from '../../src/formats/onnx/format.ts'
import { openOnnx } from '../../src/formats/onnx/open-onnx.ts'
import {
  createSessions,
  type Sessions,
  type SessionsOptions,
} from '../../src/formats/onnx/session/session-host.ts'
import { createRuntimes, type Runtimes } from '../../src/formats/runtimes.ts'
import type { Predictor } from '../../src/predictor.ts'
import {
  demandingModel,
  floats,
  graph,
  message,
  model,
  node,
  tensor,
  value,
  wholes,
} from '../support/onnx-writer.ts'
import { rowTexts } from '../support/onnx-answers.ts'
import { treeModel } from '../support/onnx-trees.ts'
import { compareAnswers, readOnnxCases, type ParityCase } from '../support/parity.ts'

/** The processor time of this process in milliseconds. */
const spentMs = (): number => {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1_000
}

const cases = readOnnxCases()
const caseOf = (name: string) => cases.find((each) => each.name === name)!

let runtimes: Runtimes
beforeAll(() => {
  runtimes = createRuntimes({ onError: () => {} })
})
afterAll(() => runtimes.stop())

const started: Sessions[] = []
afterEach(async () => {
  for (const sessions of started.splice(0)) await sessions.stop()
})
function sessionsOf(options: Partial<SessionsOptions> = {}): { sessions: Sessions; told: string[] } {
  const told: string[] = []
  const sessions = createSessions({ onError: (message) => told.push(message), ...options })
  started.push(sessions)
  return { sessions, told }
}

/** Opens a graph in the process alone. */
const open = (sessions: Sessions, bytes: Buffer, name = 'session'): Promise<Predictor> =>
  openSessionOf(sessions, {
    name,
    bytes,
    layout: { ...openOnnx(bytes).layout, hasSteadyTime: false },
  })
const ask = async (predictor: Predictor, ...values: number[]): Promise<number[]> => {
  const output = new Float32Array(values.length)
  await predictor.run(Float64Array.from(values), values.length, output)
  return [...output]
}

const differences = (output: Float32Array, { answers }: ParityCase): number =>
  answers.flat().reduce((worst, wanted, at) => Math.max(worst, Math.abs(wanted - output[at]!)), 0)

describe('a graph that holds more than trees', () => {
  it.each(['session-network-0', 'session-pipeline-0', 'session-pipeline-forest-0'])(
    '%s answers as ONNX Runtime in Python, alone and in a batch, with its texts',
    async (name) => {
      const each = caseOf(name)
      const { bytes, rows } = each
      const { layout, forest } = openOnnx(bytes)
      expect(forest).toBeUndefined()
      const predictor = await open(runtimes.sessions, bytes)
      const isText = layout.columns.map((column) => column.isText === true)
      const numbers = rows.map((row) =>
        row
          .filter((_, at) => !isText[at])
          .map((cell) => (cell === 'inf' ? Infinity : cell === '-inf' ? -Infinity : (cell ?? NaN))),
      ) as number[][]
      const texts = rows.map((row) => row.filter((_, at) => isText[at])) as string[][]
      const { inputs, outputs } = predictor
      expect(inputs).toBe(numbers[0]!.length)
      const output = new Float32Array(rows.length * outputs)
      await predictor.run(Float64Array.from(numbers.flat()), rows.length, output, undefined, rowTexts(texts))
      expect(differences(output, each)).toBeLessThan(1e-6)
      const alone = new Float32Array(rows.length * outputs)
      const runs = rows.map(async (_, row) => {
        const place = alone.subarray(row * outputs, (row + 1) * outputs)
        await predictor.run(Float64Array.from(numbers[row]!), 1, place, undefined, rowTexts([texts[row]!]))
      })
      await Promise.all(runs)
      expect(differences(alone, each)).toBeLessThan(1e-6)
      predictor.close!()
    },
  )

  it('takes named columns of every type, and refuses a part of a whole number', async () => {
    const cast = (input: string) =>
      node({ op: 'Cast', inputs: [input], outputs: [`${input}1`], attributes: { to: 1 } })
    const types = { double: 11, short: 6, long: 7, yes: 9 }
    const names = Object.keys(types)
    const bytes = model(
      graph({
        inputs: Object.entries(types).map(([name, type]) => value(name, [0, 1], type)),
        outputs: [value('y', [0, 4])],
        nodes: [
          ...names.map(cast),
          node({
            op: 'Concat',
            inputs: names.map((name) => `${name}1`),
            outputs: ['y'],
            attributes: { axis: 1 },
          }),
        ],
      }),
    )
    const predictor = await open(runtimes.sessions, bytes)
    const output = new Float32Array(8)
    await predictor.run(Float64Array.of(0.5, 3, 2 ** 24, 1, -1, -7, 9, 0), 2, output)
    expect([...output]).toEqual([0.5, 3, 2 ** 24, 1, -1, -7, 9, 0])
    for (const [wrong, message] of [
      [[0.5, 1, 2.5, 1], 'whole numbers between -2^53 and 2^53 as long, not 2.5'],
      [[0.5, 1, NaN, 1], 'whole numbers between -2^53 and 2^53 as long, not null'],
      [[0.5, 1, 2 ** 53, 1], 'whole numbers between -2^53 and 2^53 as long, not one beyond'],
      [[0.5, 2 ** 31, 1, 1], 'whole numbers of 32 bits as short, not 2147483648'],
      [[0.5, 1, 1, NaN], 'true or false as yes, not null'],
      [[0.5, 1, 1, 0.5], 'true or false as yes, not 0.5'],
    ] as const)
      expect(() => predictor.run(Float64Array.from(wrong), 1, output)).toThrow(message)
    predictor.close!()
  })

  it('of a format that is too new is refused with the one to save', async () => {
    const graphs = graph({ nodes: [node({ op: 'Cumsum', inputs: ['x'], outputs: ['y'] })] })
    const bytes = Buffer.concat([model(graphs), message({ 1: 99 })])
    await expect(open(runtimes.sessions, bytes)).rejects.toMatchObject({
      code: 'artifact_invalid',
      message: expect.stringMatching(
        /does not load the model: Unsupported model IR version: 99, max .*; set model.ir_version = \d+ before it is saved$/,
      ) as string,
    })
  })

  it('that ONNX Runtime does not know is refused with its reason', async () => {
    const bytes = model(graph({ nodes: [node({ op: 'Magic', inputs: ['x'], outputs: ['y'] })] }))
    await expect(open(runtimes.sessions, bytes)).rejects.toMatchObject({
      code: 'artifact_invalid',
      message: expect.stringMatching(/ONNX Runtime does not load the model: .*Magic/),
    })
  })
})

describe('a graph', () => {
  it.each([
    ['takes the mean of all rows from each', 'ReduceMean', 'Sub'],
    ['adds the rows before to each', 'CumSum', 'Mul'],
  ])('that %s is refused', async (_, op, then) => {
    const bytes = model(
      graph({
        nodes: [
          node({ op, inputs: ['x', 'zero'], outputs: ['all'] }),
          node({ op: 'Exp', inputs: ['x'], outputs: ['own'] }),
          node({ op: then, inputs: ['own', 'all'], outputs: ['y'] }),
        ],
        initializers: [tensor('zero', [1], 7, wholes([0]))],
      }),
    )
    await expect(open(runtimes.sessions, bytes)).rejects.toMatchObject({
      code: 'artifact_invalid',
      message: expect.stringContaining(
        'its answer to a row depends on the other rows: export it for inference',
      ),
    })
  })

  it.each([
    [
      'divides each row by the largest of all',
      [
        node({ op: 'ReduceMax', inputs: ['x', 'zero'], outputs: ['all'] }),
        node({ op: 'Add', inputs: ['all', 'small'], outputs: ['largest'] }),
        node({ op: 'Div', inputs: ['x', 'largest'], outputs: ['y'] }),
      ],
    ],
    [
      'mixes its rows into small answers',
      [
        node({ op: 'Softmax', inputs: ['x'], outputs: ['share'], attributes: { axis: 0 } }),
        node({ op: 'Mul', inputs: ['share', 'small'], outputs: ['y'] }),
      ],
    ],
    [
      'answers one row other than several',
      [
        node({ op: 'Shape', inputs: ['x'], outputs: ['shape'] }),
        node({ op: 'Gather', inputs: ['shape', 'zero'], outputs: ['rows'] }),
        node({ op: 'Cast', inputs: ['rows'], outputs: ['count'], attributes: { to: 1 } }),
        node({ op: 'Min', inputs: ['count', 'two'], outputs: ['most'] }),
        node({ op: 'Mul', inputs: ['x', 'most'], outputs: ['y'] }),
      ],
    ],
  ])('that %s is refused', async (_, nodes) => {
    const bytes = model(
      graph({
        nodes,
        initializers: [
          tensor('zero', [1], 7, wholes([0])),
          tensor('small', [1], 1, floats([0.001])),
          tensor('two', [1], 1, floats([2])),
        ],
      }),
    )
    await expect(open(runtimes.sessions, bytes)).rejects.toMatchObject({
      code: 'artifact_invalid',
      message: expect.stringContaining('its answer to a row depends on the other rows'),
    })
  })

  it.each([
    ['no single row', 'Gather', 'two equal rows, but not one', ['x', 'one']],
    ['rows alone, but not together', 'Gather', 'rows alone, but not together', ['table', 'sum']],
  ])('that answers %s is refused', async (_, op, reason, inputs) => {
    const bytes = model(
      graph({
        nodes: [
          node({ op: 'ReduceL1', inputs: ['x', 'zero'], outputs: ['size'], attributes: { keepdims: 0 } }),
          node({ op: 'Cast', inputs: ['size'], outputs: ['sum'], attributes: { to: 7 } }),
          node({ op, inputs, outputs: ['found'] }),
          node({ op: 'Mul', inputs: ['found', 'nothing'], outputs: ['none'] }),
          node({ op: 'Add', inputs: ['x', 'none'], outputs: ['y'] }),
        ],
        initializers: [
          tensor('zero', [1], 7, wholes([0])),
          tensor('one', [1], 7, wholes([1])),
          tensor('nothing', [1], 1, floats([0])),
          tensor('table', [31, 1], 1, floats(Array.from({ length: 31 }, () => 1))),
        ],
      }),
    )
    await expect(open(runtimes.sessions, bytes)).rejects.toMatchObject({
      code: 'artifact_invalid',
      message: expect.stringContaining(`it answers ${reason}: export it for any number of rows`),
    })
  })

  it('that takes the scale of its numbers from all rows is given one row at a time', async () => {
    const parts = ['whole', 'scale', 'zero']
    const bytes = model(
      graph({
        nodes: [
          node({ op: 'DynamicQuantizeLinear', inputs: ['x'], outputs: parts }),
          node({ op: 'DequantizeLinear', inputs: parts, outputs: ['y'] }),
        ],
      }),
    )
    const [one, million] = await ask(await open(runtimes.sessions, bytes), 1, 1e6)
    expect(one).toBeCloseTo(1, 6)
    expect(million).toBeCloseTo(1e6, 0)
  })

  it('takes weights of 4 and of 8 bits', async () => {
    const weights = (name: string, type: number, byte: number) => tensor(name, [1, 1], type, Buffer.of(byte))
    const dequantized = (name: string) =>
      node({ op: 'DequantizeLinear', inputs: [name, 'scale'], outputs: [`${name}1`] })
    const bytes = model(
      graph({
        nodes: [
          dequantized('short'),
          dequantized('eighth'),
          node({ op: 'Mul', inputs: ['short1', 'eighth1'], outputs: ['weight'] }),
          node({ op: 'MatMul', inputs: ['x', 'weight'], outputs: ['y'] }),
        ],
        // -3, and 1.5 as float8e4m3fn.
        initializers: [
          weights('short', 22, 0x0d),
          weights('eighth', 17, 0x3c),
          tensor('scale', [], 1, floats([1])),
        ],
      }),
    )
    expect(await ask(await open(runtimes.sessions, bytes), 2)).toEqual([-9])
  })

  it('that gives as many rows for three as for two is refused', async () => {
    const bytes = model(
      graph({
        nodes: [
          node({ op: 'ReduceMean', inputs: ['x', 'zero'], outputs: ['mean'] }),
          node({ op: 'Add', inputs: ['mean', 'pair'], outputs: ['y'] }),
        ],
        initializers: [tensor('zero', [1], 7, wholes([0])), tensor('pair', [2, 1], 1, floats([1, 2]))],
      }),
    )
    await expect(open(runtimes.sessions, bytes)).rejects.toMatchObject({
      code: 'artifact_invalid',
      message: expect.stringContaining(
        'it answers two equal rows, but not three: export it for any number of rows, each by itself (it gives 2 rows for 3)',
      ),
    })
  })

  it('whose Dropout is set to inference is computed', async () => {
    const bytes = model(
      graph({
        nodes: [node({ op: 'Dropout', inputs: ['x', '', 'training'], outputs: ['y'] })],
        initializers: [tensor('training', [], 9, Buffer.from([0]))],
      }),
    )
    expect(await ask(await open(runtimes.sessions, bytes), 1, 2)).toEqual([1, 2])
  })

  it('whose encoder fails for a category that it has not seen is refused with what to do', async () => {
    const bytes = model(
      graph({
        nodes: [
          node({
            op: 'OneHotEncoder',
            domain: 'ai.onnx.ml',
            inputs: ['x'],
            outputs: ['y'],
            attributes: { cats_int64s: [44, 45], zeros: 0 },
          }),
        ],
        outputs: [value('y', [0, 1, 2])],
      }),
    )
    const layout = { ...openOnnx(treeModel({})).layout, output: 'y' }
    const inputs = [{ name: 'x', type: 'float32' as const, width: 1 }]
    const opening = openSessionOf(runtimes.sessions, {
      name: 'encoder',
      bytes,
      layout: { ...layout, inputs },
    })
    await expect(opening).rejects.toThrow(
      /it answers no row that was tried, such as zeros and empty texts: train its encoders with handle_unknown='ignore' \(.*Unknown Category/,
    )
  })
})

describe('the process of ONNX Runtime', () => {
  const reachedMs = 1_000
  it('is ended when a run takes too long, while trees and other models answer, in the end without that graph', async () => {
    const { sessions, told } = sessionsOf({ runMs: reachedMs })
    const slow = await open(sessions, demandingModel(400), 'slow')
    const fine = await open(sessions, demandingModel(1), 'fine')
    expect(await ask(fine, 1, 2, 3)).toEqual([1, 2, 3])
    for (let death = 1; death <= 3; death++) {
      const running = ask(slow, 2_000)
      const failed = expect(running).rejects.toMatchObject({
        code: 'model_unavailable',
        message: expect.stringMatching(/has died: it has taken more than 1000 ms/) as string,
      })
      // The event loop is free in the meantime.
      const began = spentMs()
      await pause(20)
      expect(compareAnswers(caseOf('sklearn-forest-0')).worst).toBeLessThan(1e-6)
      expect(spentMs() - began).toBeLessThan(1_000)
      await failed
      expect(sessions.counts().deaths).toBe(death)
      await expect.poll(() => fine.trouble!()).toBeUndefined()
      expect(await ask(fine, 4)).toEqual([4])
      if (death < 3) await expect.poll(() => slow.trouble!()).toBeUndefined()
    }
    await expect(ask(slow, 1)).rejects.toThrow(/died 3 times/)
    expect(told.join('\n')).toMatch(/slow \d+ has taken more than 1000 ms: its process is ended/)
  })

  it('that crashes by chance is started again, and its requests are answered', async () => {
    const find = () => {
      try {
        const pids = execFileSync('pgrep', ['-P', String(process.pid), '-f', 'session-process'], {
          encoding: 'utf8',
        })
        return pids.trim().split('\n').map(Number)
      } catch {
        return []
      }
    }
    // The processes of other tests: numbers of processes start again at their end, so the newest is not the highest.
    const others = find()
    const { sessions, told } = sessionsOf()
    const predictor = await open(sessions, demandingModel(400))
    const ours = find().filter((pid) => !others.includes(pid))
    expect(ours).toHaveLength(1)
    const running = ask(predictor, 200)
    await pause(50)
    process.kill(ours[0]!, 'SIGSEGV')
    expect(await running).toEqual([200])
    expect(sessions.counts().deaths).toBe(1)
    expect(await ask(predictor, 5)).toEqual([5])
    expect(told).toContain('the process of ONNX Runtime has died and is started again')
  })

  it('has a limit of memory: a run beyond it fails alone', async () => {
    const { sessions } = sessionsOf({ memoryMb: 1_024 })
    const predictor = await open(sessions, demandingModel(1))
    await expect(ask(predictor, 40_000)).rejects.toThrow()
    await expect.poll(() => predictor.trouble!()).toBeUndefined()
    expect(await ask(predictor, 7)).toEqual([7])
  })

  it('starts with the first graph and ends with the last', async () => {
    const { sessions } = sessionsOf()
    const first = await open(sessions, demandingModel(1))
    expect(sessions.counts()).toMatchObject({ models: 1, deaths: 0 })
    first.close!()
    expect(sessions.counts().models).toBe(0)
    const second = await open(sessions, demandingModel(1))
    expect(await ask(second, 3)).toEqual([3])
    expect(sessions.counts().deaths).toBe(0)
  })

  it('is not needed for trees', () => {
    expect(openOnnx(treeModel()).forest).toBeDefined()
    expect(runtimes.sessions.counts().deaths).toBe(0)
  })
})
