/** Tests `tenure up` on a fresh state whose start ends early: without a serving API, or interrupted. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { exitCodes } from '../../../../cli/exit-codes.ts'
import { startTenure, type Ended, type Running } from '../../../support/commands/tenure-process.ts'

/** `meet` acts while the start is under way. */
async function startFresh(
  variables: Record<string, string>,
  meet?: (starting: Running) => Promise<void>,
): Promise<Ended> {
  const state = mkdtempSync(join(tmpdir(), 'tenure-up-'))
  const starting = startTenure({ ...variables, TENURE_STATE: state }, ['up'])
  await meet?.(starting)
  const ended = await starting.ended
  rmSync(state, { recursive: true })
  return ended
}

it('tenure up stops every process and ends when the API does not serve', async () => {
  // The API reads this file after it has answered that it lives.
  const { code, err } = await startFresh({ TENURE_STREAMS: join(tmpdir(), 'absent.json') })
  expect(code).toBe(exitCodes.defect)
  expect(err).toMatch(/^error api (does not serve|ended with exit code 1)[^]*absent\.json/m)
})

it('tenure up prints the admin key if the start is interrupted after its creation', async () => {
  const { code, out, err } = await startFresh({}, async ({ says, child }) => {
    await says(/ api +info +listening|takes tasks/)
    child.kill('SIGINT')
  })
  expect(code, err).toBe(exitCodes.interrupted)
  expect(out).toMatch(/Admin key +tnr_/)
})
