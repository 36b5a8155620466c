/** Tests `tenure logs` on a log that the supervisor's own writer has written. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rename, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { commands } from '../../../../cli/commands/all-commands.ts'
import { exitCodes } from '../../../../cli/exit-codes.ts'
import { runProgram } from '../../../../cli/program.ts'
import { openMergedLog } from '../../../../cli/supervisor/system.ts'
import { checkout, environmentWith } from '../../../../temporal.config.ts'
import { runCommand } from '../../../support/command-line.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tenure-logs-'))
  vi.stubEnv('TENURE_STATE', folder)
})
afterEach(async () => {
  vi.unstubAllEnvs()
  await rm(folder, { recursive: true, force: true })
})

async function write(...lines: [process: string, text: string][]): Promise<void> {
  const log = openMergedLog(folder)
  for (const [process, text] of lines) log.write(process, text)
  await log.close()
}
const tenure = (...words: string[]) => runCommand(commands, ['logs', ...words])

it('prints the latest lines, of all processes or of one, across a file that was rotated', async () => {
  await write(['control', 'one'], ['postgres', 'two'])
  await rename(join(folder, 'tenure.log'), join(folder, 'tenure.log.1'))
  await write(['control', 'three'], ['api-1', 'four'])
  const texts = (out: string) => out.match(/\w+$/gm)?.filter((word) => word !== 'UTC')
  expect(texts((await tenure()).out)).toEqual(['one', 'two', 'three', 'four'])
  expect(texts((await tenure('control')).out)).toEqual(['one', 'three'])
  expect(texts((await tenure('--lines', '2')).out)).toEqual(['three', 'four'])
  expect(JSON.parse((await tenure('control', '--lines', '1', '--json')).out)).toMatchObject({
    lines: [expect.stringMatching(/^\d{4}-\S+Z control +three$/)],
  })
})

it('prints times of the day on the clock of the terminal', async () => {
  const ms = Date.UTC(2026, 2, 1, 23, 59, 59, 312)
  await write(['api', JSON.stringify({ level: 30, time: ms, msg: 'ready' })])
  const out: string[] = []
  const stream = { write: (text: string) => out.push(text) }
  await runProgram(commands, ['logs'], { out: stream, err: stream, zone: 'Europe/Vienna' })
  expect(out.join('')).toBe('00:59:59.312 api      info  ready\n\nTimes are in Europe/Vienna\n')
})

it('says which processes there are, and where nothing has run', async () => {
  const nothing = await tenure()
  expect(nothing.code).toBe(exitCodes.notFound)
  expect(nothing.err).toContain('`tenure up` has not run here')
  await write(['control', 'one'], ['postgres', 'two'])
  const other = await tenure('contrl')
  expect(other.err).toMatch(/no line of contrl[^]*It has lines of control, postgres\./)
  expect((await tenure('--follow', '--json')).code).toBe(exitCodes.usage)
})

it('follows new lines, also into a new file, until it is interrupted', async () => {
  await write(['control', 'one'])
  const argv = [join(checkout, 'cli', 'tenure.mjs'), 'logs', 'control', '--follow']
  const child = spawn(process.execPath, argv, { env: environmentWith({ TENURE_STATE: folder }) })
  try {
    let out = ''
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()))
    const shows = (pattern: RegExp) => expect.poll(() => out).toMatch(pattern)
    await shows(/ one$/m)
    await write(['control', 'two'], ['postgres', 'hidden'])
    await shows(/ two$/m)
    await rename(join(folder, 'tenure.log'), join(folder, 'tenure.log.1'))
    await write(['control', '3'])
    await shows(/ 3$/m)
    expect(out).not.toContain('hidden')
  } finally {
    child.kill('SIGINT')
    await once(child, 'exit')
  }
})
