/** Tests that small requests to a graph are answered in their turn, and the others by the process of ONNX Runtime. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openOnnx } from '../../../../src/formats/onnx/open-onnx.ts'
import { createSessions, type Sessions } from '../../../../src/formats/onnx/session/session-host.ts'
import { inTurn } from '../../../../src/formats/onnx/session/turn-session.ts'
import { answersInTurn } from '../../../../src/formats/onnx/session/turn-cost.ts'
import type { HostedPredictor, RunCost } from '../../../../src/runtime/runtime.ts'
import { bareAnswers, rowTexts } from '../../../support/onnx-answers.ts'
import { numbersOfSeed, operatorModel } from '../../../support/onnx-graphs.ts'
import { graph, model, node, value } from '../../../support/onnx-writer.ts'

let sessions: Sessions
beforeAll(() => {
  sessions = createSessions({ onError: (message) => expect.fail(message) })
})
afterAll(() => sessions.stop())

const bytes = operatorModel('Erf', {})
const { layout } = openOnnx(bytes)
const cost: RunCost = { loadMs: 5, callMs: 0.5, rowMs: 0.1, byteMs: 0.001 }

/** Stands for the process: it answers 7. */
const hostedWith = (texts: number[] = []): HostedPredictor & { asked: number[]; isClosed: boolean } => ({
  inputs: 3,
  outputs: 3,
  asked: texts,
  isClosed: false,
  run(_input, rows, output) {
    this.asked.push(rows)
    output.fill(7)
    return Promise.resolve()
  },
  close() {
    this.isClosed = true
  },
})

describe('a graph that its process has measured', () => {
  it('answers as many rows in their turn as take a millisecond, and sends the others to the process', async () => {
    const hosted = hostedWith()
    const predictor = inTurn(hosted, { bytes, layout, cost, textsOf: undefined })
    const { normal } = numbersOfSeed(4)
    const numbers = Array.from({ length: 21 }, normal)
    const output = new Float32Array(21)
    // 0.5 ms for the first row and 0.1 ms for each other.
    expect(predictor.run(Float64Array.from(numbers), 6, output)).toBeUndefined()
    const wanted = await bareAnswers(bytes, layout, { count: 6, numbers: numbers.slice(0, 18) })
    expect([...output.subarray(0, 18)]).toEqual(wanted)
    expect(hosted.asked).toEqual([])
    await predictor.run(Float64Array.from(numbers), 7, output)
    expect([...output]).toEqual(numbers.map(() => 7))
    expect(hosted.asked).toEqual([7])
    predictor.close!()
    expect(hosted.isClosed).toBe(true)
  })

  it.each<[string, Partial<RunCost>, boolean]>([
    ['of 0.5 ms a row', {}, true],
    ['of 1.1 ms a row', { callMs: 1.1 }, false],
    ['that loads 0.2 s', { loadMs: 200 }, false],
  ])('%s answers in its turn: %s', (_, changed, isInTurn) => {
    expect(answersInTurn(layout, bytes, { ...cost, ...changed })).toBe(isInTurn)
  })

  it('whose row decides its time, or of a large file, never answers in its turn', () => {
    expect(answersInTurn({ hasSteadyTime: false }, bytes, cost)).toBe(false)
    expect(answersInTurn(layout, new Uint8Array(16_777_217), cost)).toBe(false)
  })
})

it('the process measures a graph when it loads it', async () => {
  const plan = { inputs: layout.inputs, output: layout.output }
  const { cost: measured, close } = await sessions.open('erf', { bytes, plan }, { inputs: 3 })
  for (const name of ['loadMs', 'callMs', 'rowMs'] as const) expect(measured![name]).toBeGreaterThan(0)
  close!()
})

it('a long text is sent to the process', async () => {
  const file = model(
    graph({
      inputs: [value('t', [0, 1], 8)],
      outputs: [value('y', [0, 2])],
      nodes: [
        node({
          op: 'OneHotEncoder',
          domain: 'ai.onnx.ml',
          inputs: ['t'],
          outputs: ['h'],
          attributes: { cats_strings: ['a', 'b'], zeros: 1 },
        }),
        node({ op: 'Flatten', inputs: ['h'], outputs: ['y'] }),
      ],
    }),
  )
  const hosted = { ...hostedWith(), inputs: 0, outputs: 2 }
  const text = openOnnx(file).layout
  const textsOf = ({ texts }: { texts: Buffer }) => ({ bytes: texts, starts: new Uint32Array(2) })
  const predictor = inTurn(hosted, { bytes: file, layout: text, cost, textsOf })
  const output = new Float32Array(2)
  expect(predictor.run(new Float64Array(0), 1, output, undefined, rowTexts([['b']]))).toBeUndefined()
  expect([...output]).toEqual([0, 1])
  const long = rowTexts([['b'.repeat(600)]])
  await predictor.run(new Float64Array(0), 1, output, undefined, long)
  expect([...output]).toEqual([7, 7])
  predictor.close!()
})
