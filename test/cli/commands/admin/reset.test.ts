import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { resetCommand } from '../../../../cli/commands/admin/reset.ts'
import { exitCodes } from '../../../../cli/exit-codes.ts'
import { claim } from '../../../../cli/supervisor/pidfile.ts'
import { runProgram } from '../../../../cli/program.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'tenure-reset-'))
  vi.stubEnv('TENURE_STATE', dir)
  vi.stubEnv('DATABASE_URL', '')
  mkdirSync(join(dir, 'postgres'))
  writeFileSync(join(dir, 'postgres', 'PG_VERSION'), '18')
  writeFileSync(join(dir, 'setup.lock'), '')
})
afterEach(() => {
  vi.unstubAllEnvs()
  rmSync(dir, { recursive: true, force: true })
})

async function reset(...words: string[]) {
  let out = ''
  let err = ''
  const streams = {
    out: { write: (text: string) => (out += text) },
    err: { write: (text: string) => (err += text) },
  }
  const code = await runProgram([resetCommand], ['reset', ...words], streams)
  return { code, out, err }
}

describe('tenure reset', () => {
  it('deletes everything but the lock of the set-up', async () => {
    const { code, out } = await reset('--yes', '--json')
    expect(code).toBe(exitCodes.done)
    expect(JSON.parse(out)).toMatchObject({ stateDir: dir, deleted: expect.arrayContaining(['postgres']) })
    expect(readdirSync(dir)).toEqual(['setup.lock'])
  })

  it('deletes nothing without --yes in a non-interactive session', async () => {
    const { code, err } = await reset()
    expect(code).toBe(exitCodes.usage)
    expect(err).toContain('--yes')
    expect(existsSync(join(dir, 'postgres', 'PG_VERSION'))).toBe(true)
  })

  it('refuses while Tenure runs there', async () => {
    const held = await claim(join(dir, 'supervisor.json'))
    const { code, err } = await reset('--yes')
    held.release()
    expect(code).toBe(exitCodes.usage)
    expect(err).toContain(`already runs here as process ${process.pid}`)
    expect(err).toContain(`Stop it with Ctrl-C or \`kill ${process.pid}\``)
    expect(existsSync(join(dir, 'postgres', 'PG_VERSION'))).toBe(true)
  })

  it('keeps the database of DATABASE_URL and reports it', async () => {
    vi.stubEnv('DATABASE_URL', 'postgres://elsewhere/tenure')
    const { out } = await reset('--yes')
    expect(out).toContain('The database at DATABASE_URL is unchanged.')
  })
})
