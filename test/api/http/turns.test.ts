/** Tests how bodies with many records share the event loop. */
import { expect, it } from 'vitest'
import { turnsOf } from '../../../api/http/turns.ts'

/** Takes records of a body, each of which needs this time of a clock of its own, and notes each turn. */
function bodyOf(key: string, { records, recordMs }: { records: number; recordMs: number }, told: string[]) {
  let at = 0
  const turn = turnsOf(key, () => at)
  return async () => {
    let taken = 0
    for (let record = 0; record < records; record++) {
      const before = loops
      await turn()
      if (loops !== before && taken > 0) told.push(`${key}${taken}`)
      if (loops !== before) taken = 0
      taken++
      at += recordMs
    }
    told.push(`${key}${taken}`)
  }
}

/** The rounds of the event loop. */
let loops = 0
let isCounting = false
function count(): void {
  if (!isCounting) return
  loops++
  setImmediate(count)
}
async function counted(work: () => Promise<unknown>): Promise<number> {
  const from = loops
  isCounting = true
  setImmediate(count)
  await work().finally(() => (isCounting = false))
  return loops - from
}

it('a body takes records for five milliseconds of a turn, and one turn begins in each round of the event loop', async () => {
  const told: string[] = []
  const rounds = await counted(async () => {
    await Promise.all([
      bodyOf('a', { records: 20, recordMs: 1 }, told)(),
      bodyOf('b', { records: 20, recordMs: 1 }, told)(),
      bodyOf('c', { records: 20, recordMs: 1 }, told)(),
    ])
  })
  expect(told.sort()).toEqual(['a', 'b', 'c'].flatMap((key) => Array<string>(4).fill(`${key}5`)))
  expect(rounds).toBeGreaterThanOrEqual(12)
})

it('a key with many bodies gets no more turns than a key with one', async () => {
  const ends: string[] = []
  const ended = async (name: string, work: () => Promise<void>) => {
    await work()
    ends.push(name)
  }
  const many = Array.from({ length: 10 }, (_, at) =>
    ended(`many ${at}`, bodyOf('many', { records: 10, recordMs: 5 }, [])),
  )
  await Promise.all([...many, ended('one', bodyOf('one', { records: 10, recordMs: 5 }, []))])
  // Each of its ten turns comes after one of the other key, which needs a hundred.
  expect(ends[0]).toBe('one')
})
