import { createHash, randomBytes } from 'node:crypto'
import { expect, it } from 'vitest'
import { joinInTurns, updateInTurns } from '../../../store/objects/slices.ts'
import { turnsDuring } from '../../support/main-thread.ts'

const mib = 1_048_576

it.each([0, 1, mib, mib + 1, 64 * mib])(
  '%i bytes are hashed as at once, while other events run',
  async (bytes) => {
    const given = randomBytes(bytes)
    const hash = createHash('sha256')
    expect(await turnsDuring(() => updateInTurns(hash, given))).toBeGreaterThanOrEqual(bytes / mib - 1)
    expect(hash.digest('hex')).toBe(createHash('sha256').update(given).digest('hex'))
  },
)

it.each<[what: string, sizes: number[], turns: number]>([
  ['none', [], 0],
  ['a small one', [5], 0],
  ['large and small ones', [3 * mib, 0, 10, mib - 1, 1], 2],
  ['64 MiB as they arrive from a socket', Array<number>(1_024).fill(65_536), 64],
])('parts are joined as at once, while other events run: %s', async (_what, sizes, turns) => {
  const parts = sizes.map((size) => randomBytes(size))
  const whole = Buffer.concat(parts)
  let joined: Buffer | undefined
  const work = async () => (joined = await joinInTurns(parts, whole.byteLength))
  expect(await turnsDuring(work)).toBeGreaterThanOrEqual(turns)
  expect(joined!.equals(whole)).toBe(true)
})
