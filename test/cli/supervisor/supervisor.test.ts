/** Tests the supervisor with real processes: start, restart, and no orphans. */
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { birthOf } from '@tenure/embedded'
import { claim, findOutliving } from '../../../cli/supervisor/pidfile.ts'
import { planProcesses } from '../../../cli/supervisor/process-plan.ts'
import { type ChildSpec, supervise, type SuperviseOptions } from '../../../cli/supervisor/supervisor.ts'
import { readConfig } from '../../../temporal.config.ts'

let stateDir: string
let lines: string[]
let ends: (() => Promise<void>)[]

beforeEach(() => {
  stateDir = mkdtempSync(join(tmpdir(), 'tenure-supervisor-'))
  lines = []
  ends = []
})
afterEach(async () => {
  for (const end of ends) await end()
  rmSync(stateDir, { recursive: true })
})

const options = (): SuperviseOptions => ({
  log: (name, line) => lines.push(`${name}: ${line}`),
  stateDir,
  pauseMs: { min: 1, max: 20 },
  signals: false,
})

/** Describes a Node process that prints its pid and runs until it is stopped; ready after it has printed. */
function child(
  name: string,
  body = `process.on('SIGTERM', () => (console.log('ends'), process.exit()))`,
): ChildSpec {
  const isReady = (pid: number) => Promise.resolve(lines.includes(`${name}: up ${pid}`))
  const script = `${body}; setInterval(() => {}, 1000); console.log('up', process.pid)`
  return { name, command: process.execPath, args: ['-e', script], isReady }
}

async function begin(specs: ChildSpec[], more: Partial<SuperviseOptions> = {}) {
  const supervision = await supervise(specs, { ...options(), ...more })
  ends.push(supervision.stop)
  return supervision
}

const gone = (pid: number) => expect.poll(() => birthOf(pid)).toBeUndefined()
const order = (...wanted: string[]) =>
  wanted.map((start) => lines.findIndex((line) => line.startsWith(start)))
const sorted = (numbers: number[]) => numbers.toSorted((a, b) => a - b)

describe('the supervisor', () => {
  it('restarts a child on request: clean stop, ready again, no backoff', async () => {
    const supervision = await begin([child('worker')], { pauseMs: { min: 60_000, max: 60_000 } })
    const before = supervision.pidOf('worker')
    await supervision.restart('worker')
    expect(supervision.pidOf('worker')).not.toBe(before)
    expect(supervision.pidOf('worker')).toBeDefined()
    expect(lines).toContain('worker: ends')
    expect(lines).toContain('tenure: restarting worker')
    await expect(supervision.restart('unknown')).rejects.toThrow('unknown is not running')
  })

  it('rejects a requested restart that fails', async () => {
    const flag = join(stateDir, 'once')
    const once = `if (require('node:fs').existsSync(${JSON.stringify(flag)})) process.exit(3); process.on('SIGTERM', () => process.exit())`
    const supervision = await begin([child('worker', once)])
    writeFileSync(flag, '')
    await expect(supervision.restart('worker')).rejects.toThrow(/worker ended with exit code 3/)
  })

  it('starts a child after its dependencies and stops it before them', async () => {
    const supervision = await begin([child('database'), { ...child('worker'), after: ['database'] }])
    await supervision.stop()
    const told = order('database: up', 'worker: up', 'worker: ends', 'database: ends')
    expect(told).toEqual(sorted(told))
    expect(told).not.toContain(-1)
  })

  it('restarts a killed child and ends its descendants', async () => {
    const offspring = `console.log('child', require('child_process').spawn('sleep', ['1000']).pid)`
    const supervision = await begin([child('worker', offspring)])
    const before = supervision.pidOf('worker') as number
    const sleeper = Number(/child (\d+)/.exec(lines.join('\n'))?.[1])
    expect(birthOf(sleeper)).toBeDefined()
    process.kill(before, 'SIGKILL')
    await gone(sleeper)
    await expect.poll(() => supervision.restartsOf('worker')).toBe(1)
    await expect.poll(() => supervision.pidOf('worker')).not.toBe(before)
    expect(lines.some((line) => line.startsWith('tenure: worker ended (SIGKILL)'))).toBe(true)
    await expect.poll(() => lines.join('\n')).toMatch(/tenure: worker is back after \d\.\d s/)
  })

  it('retries a crashing child with backoff until the supervisor stops', async () => {
    const marker = join(stateDir, 'broken')
    const supervision = await begin([
      child('worker', `if (require('fs').existsSync('${marker}')) process.exit(3)`),
    ])
    writeFileSync(marker, '')
    process.kill(supervision.pidOf('worker') as number, 'SIGKILL')
    await expect.poll(() => supervision.restartsOf('worker')).toBeGreaterThan(3)
    await supervision.stop()
    expect(lines).toContain('tenure: worker ended with exit code 3 while starting')
  })

  it('does not restart a child with restart: never', async () => {
    const supervision = await begin([{ ...child('once'), restart: 'never' }])
    const pid = supervision.pidOf('once') as number
    process.kill(pid, 'SIGKILL')
    await gone(pid)
    await supervision.stop()
    expect(supervision.restartsOf('once')).toBe(0)
  })

  it('stops all children and reports why one cannot start', async () => {
    const specs = [child('database'), { ...child('worker', 'process.exit(7)'), after: ['database'] }]
    await expect(begin(specs)).rejects.toThrow('worker ended with exit code 7 while starting')
    await gone(Number(/up (\d+)/.exec(lines[0] ?? '')?.[1]))
    await expect(begin([{ ...child('worker'), command: '/nowhere/at/all' }])).rejects.toThrow()
  })

  it('reports a child that never becomes ready', async () => {
    const specs = [{ ...child('worker'), isReady: () => Promise.resolve(false) }]
    await expect(begin(specs, { readyMs: 100 })).rejects.toThrow('worker did not become ready within 100 ms')
  })

  it('starts a child once more that hangs at first, and logs its last lines', async () => {
    let hung: number | undefined
    const worker = child('worker', `console.log('waits for a lock')`)
    const supervision = await begin(
      [
        {
          ...worker,
          isReady: async (pid) => {
            if (hung === undefined) await expect.poll(() => lines).toContain(`worker: up ${pid}`)
            hung ??= pid
            return pid !== hung
          },
        },
      ],
      { readyMs: 100 },
    )
    expect(supervision.pidOf('worker')).not.toBe(hung)
    expect(birthOf(hung as number)).toBeUndefined()
    expect(lines).toContain(
      `tenure: worker did not become ready within 100 ms: waits for a lock | up ${hung}; starting it again`,
    )
  })

  it('refuses a dependency on an unknown child', async () => {
    await expect(begin([{ ...child('worker'), after: ['database'] }])).rejects.toThrow(
      'worker needs database',
    )
  })

  it('kills a child that does not stop within its grace period', async () => {
    const supervision = await begin([
      { ...child('stubborn', `process.on('SIGTERM', () => {})`), graceMs: 50 },
    ])
    const pid = supervision.pidOf('stubborn') as number
    await supervision.stop()
    expect(birthOf(pid)).toBeUndefined()
  })

  it('refuses a second supervisor of the same state until the first has ended', async () => {
    const first = await begin([child('worker')])
    await expect(begin([child('worker')])).rejects.toThrow(`already runs here as process ${process.pid}`)
    await first.stop()
    await begin([child('worker')])
  })
})

/** Starts a supervisor in a separate process, which can be signalled and killed. Its worker prints its pid when it runs. */
async function beginOutside(body = '', { ready = true, outlives = false } = {}) {
  const script = join(stateDir, 'supervisor.ts')
  const module = fileURLToPath(new URL('../../../cli/supervisor/supervisor.ts', import.meta.url))
  const work = `${body}; setInterval(() => {}, 1000); console.log(process.pid)`
  writeFileSync(
    script,
    `import { supervise } from '${module}'
     const isReady = async () => ${ready}
     const worker = { name: 'worker', command: process.execPath, args: ['-e', ${JSON.stringify(work)}], isReady, outlives: ${outlives} }
     const log = (name, line) => name === 'worker' && console.log(line)
     void supervise([worker], { log, stateDir: '${stateDir}' }).then(({ stopped }) => stopped)`,
  )
  const outside = spawn(process.execPath, ['--import', 'tsx', script], { stdio: ['ignore', 'pipe', 'pipe'] })
  outside.stderr.setEncoding('utf8').on('data', (text) => lines.push(text))
  const exited = new Promise<number | null>((resolve) => outside.once('close', resolve))
  ends.push(async () => {
    outside.kill('SIGKILL')
    await exited
  })
  const worker = await new Promise<number>((resolve) =>
    outside.stdout.once('data', (text) => resolve(Number(text))),
  )
  return { supervisor: outside.pid as number, worker, exited }
}

describe('the end of the supervisor', () => {
  it.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)('%s stops everything cleanly', async (signal) => {
    const { supervisor, worker, exited } = await beginOutside()
    process.kill(supervisor, signal)
    expect(await exited).toBe(0)
    expect(birthOf(worker)).toBeUndefined()
    expect(existsSync(join(stateDir, 'supervisor.json'))).toBe(false)
  })

  it('a second signal kills at once', async () => {
    const asked = join(stateDir, 'asked')
    const { supervisor, worker, exited } = await beginOutside(
      `process.on('SIGTERM', () => fs.writeFileSync('${asked}', ''))`,
    )
    process.kill(supervisor, 'SIGINT')
    await expect.poll(() => existsSync(asked)).toBe(true)
    process.kill(supervisor, 'SIGINT')
    expect(birthOf(worker)).toBeDefined()
    const insist = setInterval(() => birthOf(worker) && process.kill(supervisor, 'SIGINT'), 50)
    expect(await exited).toBe(0)
    clearInterval(insist)
    expect(birthOf(worker)).toBeUndefined()
  })

  it('a signal during the start stops the started children and is reported', async () => {
    const { supervisor, worker, exited } = await beginOutside('', { ready: false })
    process.kill(supervisor, 'SIGTERM')
    expect(await exited).toBe(1)
    expect(birthOf(worker)).toBeUndefined()
    expect(lines.join()).toContain('SIGTERM received during the start')
  })

  it('kill -9 of the supervisor ends its children, and a new one can start', async () => {
    const { supervisor, worker, exited } = await beginOutside()
    process.kill(supervisor, 'SIGKILL')
    await exited
    await gone(worker)
    expect(JSON.parse(readFileSync(join(stateDir, 'supervisor.json'), 'utf8')).holder.pid).toBe(supervisor)
    await begin([child('worker')])
  })

  it('kill -9 of the supervisor spares a child that outlives it, until the next one has a successor or stops', async () => {
    const { supervisor, worker, exited } = await beginOutside('', { outlives: true })
    process.kill(supervisor, 'SIGKILL')
    await exited
    const file = join(stateDir, 'supervisor.json')
    expect(findOutliving(file)).toEqual([worker])
    // A failed start leaves it running, and the next start knows it.
    await expect(begin([child('worker', 'process.exit(7)')])).rejects.toThrow('exit code 7')
    expect(findOutliving(file)).toEqual([worker])
    const next = await begin([child('successor')])
    expect(birthOf(worker)).toBeDefined()
    await next.endSpared()
    expect(birthOf(worker)).toBeUndefined()
    await next.stop()
    expect(existsSync(file)).toBe(false)

    const second = await beginOutside('', { outlives: true })
    process.kill(second.supervisor, 'SIGKILL')
    await second.exited
    const stopped = await begin([child('successor')])
    await stopped.stop()
    expect(birthOf(second.worker)).toBeUndefined()
    expect(existsSync(file)).toBe(false)
  })

  it('the next supervisor ends an orphaned child', async () => {
    const { supervisor, worker, exited } = await beginOutside(`process.on('SIGTERM', () => {})`)
    process.kill(supervisor, 'SIGKILL')
    await exited
    expect(birthOf(worker)).toBeDefined()
    const next = claim(join(stateDir, 'supervisor.json'), { graceMs: 50 })
    await expect(next).resolves.toBeDefined()
    expect(birthOf(worker)).toBeUndefined()
  })
})

it('replicas with gRPC get a larger young generation', () => {
  const youngOf = (grpc: Record<string, string>) => {
    const config = readConfig({ DATABASE_URL: 'postgres://a@b/c', TENURE_STATE: stateDir, ...grpc })
    const planned = {
      config,
      servers: [],
      environment: {},
      apiPorts: [7400],
      prepare: () => Promise.resolve(),
    }
    return planProcesses(planned).find(({ args }) => args.includes('api/start.mjs'))!.args[0]
  }
  expect(youngOf({})).toBe('--max-semi-space-size=2')
  expect(youngOf({ TENURE_GRPC_PORT: '8001' })).toBe('--max-semi-space-size=16')
})

it('plans the process of the backups so that it stops after the processes that write, and before Postgres', () => {
  const [backups, ...writers] = planProcesses({
    config: readConfig({ DATABASE_URL: 'postgres://127.0.0.1/none' }),
    servers: [child('postgres')],
    environment: {},
    apiPorts: [7400],
    backups: {},
    prepare: () => Promise.resolve(),
  })
  expect([backups?.name, backups?.after]).toEqual(['backups', ['postgres']])
  expect(writers).toHaveLength(3)
  for (const { after } of writers) expect(after).toEqual(['postgres', 'backups'])
})
