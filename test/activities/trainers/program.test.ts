import { execFile, spawn } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { runTrainingProgram, type ProgramRun } from '../../../activities/trainers/program.ts'
import { programEnvironment } from '../../../temporal.config.ts'
import { checkout, launcher } from '../../../temporal.config.ts'

let root: string
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'tenure-program-'))
})
afterAll(() => rm(root, { recursive: true }))

/** Runs a shell script as a training program. */
async function shell(script: string, given: Partial<ProgramRun> = {}): Promise<string[]> {
  const lines: string[] = []
  await run(script, { onLine: (line) => lines.push(line), ...given })
  return lines
}

const run = (script: string, given: Partial<ProgramRun> = {}) =>
  runTrainingProgram({
    argv: ['sh', '-c', script],
    cwd: root,
    env: programEnvironment({ TMPDIR: root }),
    input: '{"model": "price"}\n',
    signal: new AbortController().signal,
    silentMs: 60_000,
    limitMs: 60_000,
    onLine: () => {},
    ...given,
  })

const failureOf = (script: string, given: Partial<ProgramRun> = {}) =>
  shell(script, given).then(
    (lines) => ({ code: 'none', message: lines.join() }),
    (error: Error & { code?: string }) => error,
  )

const isRunning = (pid: number) =>
  readFile(`/proc/${pid}/stat`, 'utf8').then(
    (stat) => !stat.includes(') Z '),
    () => false,
  )
const pidIn = async (file: string) => Number(await readFile(join(root, file), 'utf8').catch(() => '0'))

describe('a training program', () => {
  it('is measured with the processes that it starts: processor time, memory and time', async () => {
    // Python adds numbers for half a second of processor time, in a child of the shell that runs beside it.
    const adding =
      'import time\nheld = bytearray(50_000_000)\nwhile time.process_time() < 0.5: sum(range(1000))'
    const usage = (await run(`python3 -c '${adding}' & wait; sleep 0.3`))!
    expect(usage.cpuMs).toBeGreaterThanOrEqual(500)
    expect(usage.peakBytes).toBeGreaterThan(50_000_000)
    expect(usage.ms).toBeGreaterThanOrEqual(usage.cpuMs)
  })

  it('reads its job, writes lines, and runs in its folder with a minimal environment', async () => {
    vi.stubEnv('TENURE_KEY', 'secret')
    vi.stubEnv('HOME', '/home/trainer')
    const lines = await shell('cat; pwd; echo "${TENURE_KEY:-bare} $HOME"; printf "no line feed"')
    expect(lines).toEqual(['{"model": "price"}', root, 'bare /home/trainer', 'no line feed'])
  })

  it('may read no input at all', async () => {
    expect(await shell('exec <&-; echo 1', { input: 'x'.repeat(1_000_000) })).toEqual(['1'])
  })

  it('writes lines of bounded length without control characters', async () => {
    const lines = await shell(
      String.raw`printf '\033[2Jx\n'; head -c 200000 /dev/zero | tr '\0' a; printf '\n\377\376\n'`,
    )
    expect(lines[0]).toBe(String.raw`\u001b[2Jx`)
    expect(lines[1]).toHaveLength(65_536)
    expect(lines).toHaveLength(3)
  })

  it('fails without another try on exit code 2, with the last lines of its error output', async () => {
    const failure = await failureOf('for i in $(seq 30); do echo "line $i" >&2; done; exit 2')
    expect(failure).toMatchObject({ code: 'training_failed' })
    expect(failure.message).toMatch(/failed: exit code 2\nline 11\n/)
    expect(failure.message.endsWith('line 30')).toBe(true)
  })

  it.each([
    ['import no_such_package', /No module named 'no_such_package'$/],
    ['def train(:', /SyntaxError: .*$/],
    ["import json\njson.loads('{')", /json\.decoder\.JSONDecodeError: /],
    ["raise ValueError('first line\\nsecond: line')", /second: line$/],
  ])(
    'of Python fails without another try on an exception that would come again: %s',
    async (script, message) => {
      const file = join(root, 'fault.py')
      await writeFile(file, script)
      const failure = await failureOf('', { argv: ['python3', file] })
      expect(failure).toMatchObject({ code: 'training_failed', message: expect.stringMatching(message) })
    },
  )

  it.each([
    "raise ConnectionResetError('gone')",
    "raise OSError(5, 'of the device')",
    "raise TimeoutError('too late')",
    "import sqlite3\nraise sqlite3.OperationalError('ValueError')",
    "import ssl\nraise ssl.SSLError('the server closed')",
    "import subprocess\nsubprocess.run(['false'], check=True)",
    "import sqlite3\ntry:\n  {}['a']\nexcept KeyError as error:\n  raise sqlite3.OperationalError('gone') from error",
    "import sys; print('ValueError: of a text', file=sys.stderr); sys.exit(1)",
    'import sys; sys.exit(3)',
  ])('of Python is tried again after what may pass: %s', async (script) => {
    const file = join(root, 'passing.py')
    await writeFile(file, script)
    expect(await failureOf('', { argv: ['python3', file] })).toMatchObject({ code: 'training_interrupted' })
  })

  it('fails without another try when it cannot be started', async () => {
    const failure = await failureOf('', { argv: ['no-such-program'] })
    expect(failure).toMatchObject({ code: 'training_failed' })
    expect(failure.message).toMatch(/^no-such-program failed: exit code 127\n/)
  })

  it('is tried again after any other exit and after a kill', async () => {
    expect(await failureOf('echo why >&2; exit 3')).toMatchObject({
      code: 'training_interrupted',
      message: expect.stringMatching(/^sh .*ended with exit code 3\nwhy$/),
      context: { exitCode: 3 },
    })
    expect(await failureOf('kill -9 $$')).toMatchObject({
      code: 'training_interrupted',
      message: expect.stringContaining('SIGKILL'),
    })
  })

  it('is ended when it is silent, and when it exceeds its time limit', async () => {
    const reachedMs = 300
    expect(await failureOf('sleep 60', { silentMs: reachedMs })).toMatchObject({
      code: 'training_interrupted',
      context: { isSilent: true },
    })
    const busy = 'while :; do echo x; sleep 0.05; done'
    expect(await failureOf(busy, { limitMs: 600 })).toMatchObject({
      code: 'training_failed',
      message: expect.stringContaining('took longer than its limit of 0.6 s'),
    })
  })

  it('is ended with all its child processes, on cancellation and on its own end', async () => {
    const stopping = new AbortController()
    const running = failureOf('sleep 60 & echo $! > cancelled; wait', { signal: stopping.signal })
    await expect.poll(() => pidIn('cancelled')).toBeGreaterThan(0)
    const cancelled = await pidIn('cancelled')
    expect(await isRunning(cancelled)).toBe(true)
    stopping.abort()
    expect((await running).message).toBe('cancelled')
    await expect.poll(() => isRunning(cancelled)).toBe(false)
    // It keeps the standard output open.
    expect(await shell('sleep 60 & echo $! > left; echo done')).toEqual(['done'])
    const left = await pidIn('left')
    await expect.poll(() => isRunning(left)).toBe(false)
  })

  it('has ended when it exits, although a process that left its group holds the output open', async () => {
    // The shell ends once the other process has left its group and has written its process id.
    const leaving = 'setsid sh -c "echo \\$\\$ > away; exec sleep 60"'
    const lines = await shell(`${leaving} & until [ -s away ]; do sleep 0.01; done; printf done`)
    const away = await pidIn('away')
    expect(await isRunning(away)).toBe(true)
    process.kill(away)
    expect(lines).toEqual(['done'])
  })

  it('ends with its worker, also when that is killed', async () => {
    const worker = join(root, 'worker.mts')
    await writeFile(
      worker,
      `import { runTrainingProgram } from '${pathToFileURL(join(checkout, 'activities/trainers/program.ts')).href}'
await runTrainingProgram({ argv: ['sh', '-c', 'echo $$ > orphan; sleep 60; echo too late'], cwd: '${root}', env: process.env, input: '',
  signal: new AbortController().signal, silentMs: 60000, limitMs: 60000, onLine() {} })`,
    )
    const child = spawn(process.execPath, ['--import', 'tsx', worker], { cwd: checkout, stdio: 'inherit' })
    await expect.poll(() => pidIn('orphan')).toBeGreaterThan(0)
    const orphan = await pidIn('orphan')
    expect(await isRunning(orphan)).toBe(true)
    child.kill('SIGKILL')
    await expect.poll(() => isRunning(orphan)).toBe(false)
  })

  it('that cannot start because too many files are open fails, as a scorer, a reader of artifacts and ONNX Runtime do, and its worker goes on', async () => {
    const script = 'ulimit -n 64; exec "$0" "$@"'
    const argv = ['-c', script, process.execPath, launcher, 'test/support/programs/crowded-process.ts']
    const { stdout } = await promisify(execFile)('sh', argv, { cwd: checkout })
    expect(JSON.parse(stdout)).toEqual(['overloaded', 'overloaded', 'overloaded', 'overloaded'])
  })

  it('reports a shortage of memory as such', async () => {
    const greedy = `python3 -c "print(len(bytearray(400 * 1024 * 1024)))"`
    expect(await failureOf(greedy, { limitMb: 128 })).toMatchObject({
      code: 'out_of_memory',
      message: expect.stringMatching(/ran out of memory \(exit code 1\): MemoryError/),
    })
    expect(await shell(greedy)).toEqual(['419430400'])
  })
})
