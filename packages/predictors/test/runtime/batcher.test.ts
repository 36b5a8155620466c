/** Tests batching: which rows are combined, how long they wait, and their order. */
import { describe, expect, it } from 'vitest'
import { createBatcher, type BatcherOptions } from '../../src/runtime/batcher.ts'
import type { RunTicket } from '../../src/predictor.ts'
import { predictorError } from '../../src/errors.ts'

const shape = { inputs: 2, outputs: 1 }
const turn = () => new Promise((resolve) => setImmediate(resolve))
const orderOf = (change: Partial<RunTicket> = {}): RunTicket => ({
  background: false,
  cancelled: false,
  begunMs: 0,
  ...change,
})

/** Computes the sums of rows when released, and records the sizes of the batches. */
function stage(options: BatcherOptions = {}, now?: () => number) {
  const batcher = createBatcher(options, now)
  const log: { lane: string; rows: number }[] = []
  let release: (() => void)[] = []
  const laneOf = (lane: string, refuses: (row: number[]) => boolean = () => false) => {
    const made = batcher.lane(shape, async ({ input, rows }) => {
      log.push({ lane, rows })
      await new Promise<void>((resolve) => release.push(resolve))
      const all = Array.from({ length: rows }, (_, row) => [...input.subarray(row * 2, row * 2 + 2)])
      if (all.some(refuses)) throw new Error('a row is refused')
      return Float32Array.from(all, ([a = 0, b = 0]) => a + b)
    })
    return {
      ...made,
      async ask(values: number[], order = orderOf()): Promise<number[]> {
        const output = new Float32Array(values.length / 2)
        await made.run(Float64Array.from(values), values.length / 2, output, order)
        return [...output]
      },
    }
  }
  /** Releases batches until none is in progress. */
  const goOn = async (): Promise<void> => {
    for (let quiet = 0; quiet < 3; quiet++) {
      await turn()
      if (release.length === 0) continue
      for (const each of release.splice(0)) each()
      quiet = -1
    }
  }
  const step = async (): Promise<void> => {
    for (const each of release.splice(0)) each()
    release = []
    await turn()
    await turn()
  }
  return { batcher, log, laneOf, goOn, step }
}

describe('rows', () => {
  it('of one turn and those that wait during a batch are computed together, each with its own result', async () => {
    // On a stopped clock, because a slow batch would make the next one smaller.
    const { laneOf, log, goOn } = stage({ waitMs: 0 }, () => 0)
    const lane = laneOf('a')
    const first = [lane.ask([1, 2]), lane.ask([3, 4, 5, 6])]
    await turn()
    const second = [lane.ask([7, 8]), lane.ask([9, 10])]
    await goOn()
    expect(await Promise.all([...first, ...second])).toEqual([[3], [7, 11], [15], [19]])
    expect(log.map(({ rows }) => rows)).toEqual([3, 2])
  })

  it('of a model that takes as long for one as for many are computed in few batches', async () => {
    let ms = 0
    const sizes: number[] = []
    const batcher = createBatcher({ waitMs: 0, maxRows: 2_048, batchMs: 1_000 }, () => ms)
    const lane = batcher.lane(shape, ({ rows }) => {
      sizes.push(rows)
      ms += 60
      return Promise.resolve(new Float32Array(rows))
    })
    const ask = (rows: number) =>
      lane.run(new Float64Array(rows * 2), rows, new Float32Array(rows), orderOf())
    for (let call = 0; call < 3; call++) await ask(1)
    await ask(100)
    expect(sizes).toEqual([1, 1, 1, 16, 84])
  })

  it('of a single client do not wait for others', async () => {
    const { laneOf, log, goOn } = stage({ waitMs: 60_000 })
    const lane = laneOf('a')
    for (let i = 0; i < 3; i++) {
      const answer = lane.ask([i, 1])
      await goOn()
      expect(await answer).toEqual([i + 1])
    }
    expect(log).toHaveLength(3)
  })

  it('wait a moment if others have arrived recently, and no longer', async () => {
    let nowMs = 0
    const { laneOf, log, goOn } = stage({ waitMs: 15 }, () => nowMs)
    const lane = laneOf('a')
    const crowd = [lane.ask([1, 1]), lane.ask([2, 2])]
    await goOn()
    await Promise.all(crowd)
    const alone = lane.ask([3, 3])
    await turn()
    await turn()
    expect(log).toHaveLength(1)
    nowMs = 15
    while (log.length === 1) await turn()
    await goOn()
    expect(await alone).toEqual([6])
  })

  it('are computed at once when the batch is full, and the rest with the next', async () => {
    const { laneOf, log, goOn } = stage({ waitMs: 60_000, maxRows: 4, batchMs: 1e9 })
    const lane = laneOf('a')
    const before = [lane.ask([0, 0]), lane.ask([0, 0])]
    await goOn()
    await Promise.all(before)
    const values = Array.from({ length: 6 }, (_, row) => [row, row]).flat()
    const [many, more] = [lane.ask(values), lane.ask([50, 1, 50, 2])]
    await goOn()
    expect(await many).toEqual([0, 2, 4, 6, 8, 10])
    expect(await more).toEqual([51, 52])
    expect(log.slice(1).map(({ rows }) => rows)).toEqual([4, 4])
  })

  it('of a cancelled request are left out if they have not started', async () => {
    const { laneOf, log, goOn } = stage()
    const lane = laneOf('a')
    const first = lane.ask([1, 1])
    await turn()
    const order = orderOf()
    const given = [lane.ask([2, 2], order), lane.ask([3, 3])]
    order.cancelled = true
    await goOn()
    expect(await Promise.all([first, ...given])).toEqual([[2], [0], [6]])
    expect(order.begunMs).toBe(0)
    expect(log.map(({ rows }) => rows)).toEqual([1, 1])
  })

  it('that the model cannot compute are refused alone', async () => {
    const { laneOf, goOn } = stage()
    const lane = laneOf('a', ([a]) => a === 13)
    const asked = [lane.ask([1, 1]), lane.ask([13, 1]), lane.ask([2, 2])]
    const settled = Promise.allSettled(asked)
    await goOn()
    expect((await settled).map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
  })

  it('are refused above the queue limit', () => {
    const lane = stage({ maxPending: 2 }).laneOf('a')
    void lane.run(new Float64Array(4), 2, new Float32Array(2), orderOf())
    expect(() => void lane.run(new Float64Array(2), 1, new Float32Array(1), orderOf())).toThrow(
      expect.objectContaining({ code: 'overloaded' }),
    )
  })

  it('of a dropped model are refused, and those of others are not', async () => {
    const { laneOf, goOn } = stage()
    const [gone, stays] = [laneOf('a'), laneOf('b')]
    const settled = Promise.allSettled([stays.ask([1, 1]), gone.ask([2, 2])])
    gone.close(predictorError('model_unavailable', 'it is dropped'))
    await goOn()
    expect((await settled).map(({ status }) => status)).toEqual(['fulfilled', 'rejected'])
  })
})

describe('the models', () => {
  it('share the time: one with a hundred requests delays another by one batch', async () => {
    const { laneOf, log, step, goOn } = stage({ maxRows: 2, batchMs: 1e9 })
    const [busy, calm] = [laneOf('busy'), laneOf('calm')]
    const all = Array.from({ length: 100 }, (_, i) => busy.ask([i, i]))
    await step()
    await step()
    const one = calm.ask([1, 2])
    const at = log.length
    await step()
    expect(log.slice(at).map(({ lane }) => lane)[0]).toBe('calm')
    await goOn()
    expect(await one).toEqual([3])
    await Promise.all(all)
  })

  it('are computed before shadow rows', async () => {
    const { laneOf, log, step, goOn } = stage({ maxRows: 1, batchMs: 1e9 })
    const [shadow, live] = [laneOf('shadow'), laneOf('live')]
    const copies = Array.from({ length: 5 }, () => shadow.ask([1, 1], orderOf({ background: true })))
    const asked = Array.from({ length: 5 }, () => live.ask([2, 2]))
    await step()
    await goOn()
    await Promise.all([...copies, ...asked])
    expect(log.map(({ lane }) => lane)).toEqual([...Array(5).fill('live'), ...Array(5).fill('shadow')])
  })
})
