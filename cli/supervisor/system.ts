/** Starts Tenure on one machine: servers, workers and API replicas under the supervisor. `tenure up` and the demo use it. */
import { dirname, join } from 'node:path'
import { mkdirSync, statSync } from 'node:fs'
import { appendFile, rename } from 'node:fs/promises'
import {
  environmentWith,
  plainTextIssue,
  readCommandConfig,
  readConfig,
  type CommandConfig,
  type Config,
} from '../../temporal.config.ts'
import { isError } from '../../domain/errors.ts'
import { createApiFetch } from '../../store/tls/api-fetch.ts'
import { readCertificate } from '../../store/tls/certificate.ts'
import { apiUrlAt, planCore, planProcesses } from './process-plan.ts'
import { failure } from '../client/client.ts'
import { findConnection, writeConnection } from '../client/connection.ts'
import { freePort, requireFreePort } from '@tenure/embedded'
import { openStateDir } from '../state-dir.ts'
import { claim, expectUnclaimed, findOutliving } from './pidfile.ts'
import { choosePort, wantedPorts } from './ports.ts'
import { firstKey, prepareCore, type Prepared } from './bootstrap.ts'
import { replicaName, restartReplicas, untilOk } from './rolling-restart.ts'
import { bindSharedPort, receiveSharedPort, type SharedPort } from './shared-port.ts'
import { findUnknownVariables } from '../unknown-variables.ts'
import { supervise, type Supervision } from './supervisor.ts'
import { parseJson } from '../../domain/parse-json.ts'
import { redacted } from '../../domain/redact.ts'
import { visibleText } from '../../domain/visible-text.ts'

export interface SystemOptions {
  /** Number of API replicas. All share the first port. With several replicas, each also has its own port after it. */
  replicas: number
  environment?: Record<string, string>
  say: (line: string) => void
  echo?: (line: string) => void
}

export interface System {
  config: Config
  stateDir: string
  /** URL of the API on the shared port. */
  url: string
  /** URL of each replica, for its metrics. */
  urls: string[]
  temporalUi?: string
  log: MergedLog
  prepared: Prepared
  supervision: Supervision
  stop(): Promise<void>
}

/** Starts all processes and resolves when all serve. If one cannot start, stops all and throws its error. */
export async function startSystem(options: SystemOptions): Promise<System> {
  const plan = await planSystem(options)
  const { config, core, stateDir } = plan
  const log = openMergedLog(stateDir, options.echo)
  const sharedPort = plan.inherited ?? bindSharedPort({ host: config.api.host, port: plan.ports.shared })
  const url = apiUrlAt(config.api, sharedPort.port)
  const preparation = prepareOnce(plan, options.say)
  const processes = planProcesses({
    config,
    servers: core.servers,
    // Alerts link to the pages on the shared port unless another URL is configured.
    environment: { ...plan.environment, ...(config.publicUrl === undefined && { TENURE_PUBLIC_URL: url }) },
    apiPorts: plan.ports.api,
    keptPorts: plan.ports.kept,
    sharedPort,
    supervisor: plan.supervisor,
    ...(plan.command.backups && { backups: { TENURE_OWNER_DATABASE_URL: core.ownerDatabaseUrl } }),
    prepare: preparation.run,
  })
  const interruption = watchInterruption()
  let started: Supervision | undefined
  try {
    const supervision = await supervise([...core.servers, ...processes], { log: log.write, stateDir })
    started = supervision
    if (interruption.received()) await supervision.stop()
    const prepared = preparation.found()
    if (prepared === undefined || interruption.received())
      throw new Error('the processes started before their database was prepared')
    await awaitReadyReplicas(plan, supervision, url)
    publishConnection(plan, prepared, url)
    const stopRolling = rollOnSignal(plan, supervision, log)
    const stop = async () => {
      stopRolling()
      await supervision.stop()
      sharedPort.close()
      await log.close()
    }
    const { temporalUi } = core
    const urls = scrapedPorts(plan).map((port) => apiUrlAt(config.api, port))
    return { config, stateDir, url, urls, temporalUi, log, prepared, supervision, stop }
  } catch (error) {
    firstKey(preparation.found() ?? {}).forEach(options.say)
    await started?.stop()
    sharedPort.close()
    await log.close()
    if (interruption.received())
      throw failure({ code: 'interrupted', detail: 'interrupted during the start' })
    throw explained(error, log)
  } finally {
    interruption.end()
  }
}

type SystemPlan = Awaited<ReturnType<typeof planSystem>>

/** Reads the settings, takes over or chooses the ports, and plans the servers. Starts nothing. */
async function planSystem(options: SystemOptions) {
  const command = readCommandConfig()
  const stateDir = openStateDir(command.stateDir)
  // Checked before the ports, because a running system holds the default ports.
  const supervisor = join(stateDir, 'supervisor.json')
  expectUnclaimed(supervisor)
  // The servers and the log create files for this user only.
  process.umask(0o077)
  const inherited = await takePort(supervisor, command)
  if (inherited !== undefined)
    options.say('The API replicas of a killed `tenure up` serve until those of this one are ready')
  const kept = inherited && findConnection(stateDir)?.replicaPorts
  const ports = await choosePorts(command, options, inherited && { port: inherited.port, kept })
  const core = await planCore({ ...command, stateDir, ports })
  const environment = {
    ...options.environment,
    DATABASE_URL: core.databaseUrl,
    ...(core.readerUrl && { TENURE_READER_DATABASE_URL: core.readerUrl }),
    TEMPORAL_ADDRESS: core.temporalAddress,
    TENURE_STATE: stateDir,
  }
  const config = readConfig(environmentWith(environment))
  warnOfSettings(config, options.say)
  // Fails before the servers start; the replicas would fail much later.
  if (config.api.tls !== undefined) readCertificate(config.api.tls)
  const call = createApiFetch(config.trust)
  const urls = ports.api.map((port) => apiUrlAt(config.api, port))
  return { command, stateDir, supervisor, inherited, ports, core, environment, config, call, urls }
}

function warnOfSettings(config: Config, say: SystemOptions['say']): void {
  const plainText = plainTextIssue(config)
  if (plainText !== undefined) say(`Warning: ${plainText}`)
  for (const name of findUnknownVariables())
    say(`Warning: ${name} is set, and nothing reads it; see docs/reference/configuration.md`)
}

/** Prepares the database when the first process that needs it starts. */
function prepareOnce({ core, config, ports, stateDir, command }: SystemPlan, say: SystemOptions['say']) {
  let prepared: Prepared | undefined
  return {
    found: () => prepared,
    async run() {
      prepared = await prepareCore({
        ...core,
        config,
        replicas: ports.api.length,
        localKey: findConnection(stateDir)?.key,
        hasBackups: command.backups !== undefined,
      })
      for (const warning of prepared.warnings) say(`Warning: ${warning}`)
    },
  }
}

/** Waits until the replicas serve on the shared port, and ends those of a killed supervisor once their successors are ready. */
async function awaitReadyReplicas(
  { inherited, urls, call }: SystemPlan,
  supervision: Supervision,
  url: string,
) {
  if (inherited !== undefined) {
    await untilOk(`${urls[0]}/readyz`, { maxMs: joinMs, call }).catch(() => {})
    await supervision.endSpared()
  }
  await untilOk(`${url}/livez`, { maxMs: joinMs, call }).catch((error: Error) => {
    throw new Error(`${replicaName(0)} does not serve: ${error.message}`)
  })
}

/** Tells the commands on this machine where the system is, and with which key they may call it. */
function publishConnection(plan: SystemPlan, { localKey }: Prepared, url: string) {
  const { core, config, stateDir } = plan
  const { databaseUrl, temporalAddress } = core
  const certificate = config.api.tls?.cert
  writeConnection(stateDir, {
    pid: process.pid,
    key: localKey,
    certificate,
    url,
    databaseUrl,
    temporalAddress,
    ...(plan.ports.api.length > 1 && { replicaPorts: scrapedPorts(plan) }),
  })
}

/** The ports at which the metrics of the replicas are read: those of a killed predecessor, or else the own ones. */
const scrapedPorts = ({ ports }: SystemPlan): number[] =>
  ports.api.map((port, index) => ports.kept?.[index] ?? port)

/** Restarts the API replicas one by one at each signal. Returns a function that ends this. */
function rollOnSignal({ urls, call }: SystemPlan, supervision: Supervision, log: MergedLog): () => void {
  const say = (line: string) => log.write('tenure', line)
  const roll = () => void restartReplicas({ supervision, urls, say, call })
  process.on(rollSignal, roll)
  return () => void process.off(rollSignal, roll)
}

/** A ready replica joins the shared port at once, an unready one after 5 s. */
const joinMs = 15_000
const rollSignal = 'SIGUSR2'
const endings = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

function watchInterruption() {
  let isReceived = false
  const note = () => void (isReceived = true)
  for (const signal of endings) process.once(signal, note)
  return {
    received: () => isReceived,
    end() {
      for (const signal of endings) process.off(signal, note)
    },
  }
}

/** Adds the last log lines of the process that failed to start to the error. */
function explained(error: unknown, log: MergedLog): unknown {
  if (!(error instanceof Error) || isError(error)) return error
  const tail = log.tail(error.message.split(' ')[0] ?? '').map((line) => `\n  ${line}`)
  return failure({
    code: 'internal',
    detail: `${error.message}${tail.join('')}`,
    remedy: `Read the log ${log.path}, or run \`tenure doctor\`.`,
  })
}

/**
 * Receives the port of replicas that outlived their supervisor. Ends them if they cannot hand it over or if this start uses another port,
 * because they would hold the old one.
 */
async function takePort(supervisor: string, { host, ports }: CommandConfig): Promise<SharedPort | undefined> {
  if (findOutliving(supervisor).length === 0) return undefined
  const port = await receiveSharedPort(join(dirname(supervisor), 'handover'), { host, port: ports.api })
  if (port === undefined) (await claim(supervisor)).release()
  return port
}

/** Chooses a port for each server and replica started here. */
async function choosePorts(
  command: CommandConfig,
  { replicas, say }: SystemOptions,
  inherited: { port: number; kept: number[] | undefined } | undefined,
) {
  const wanted = wantedPorts(command, replicas)
  const { postgres, temporal, temporalUi } = wanted.servers
  const servers = {
    postgres: postgres ? await choosePort(postgres, say) : 0,
    temporal: temporal ? await choosePort(temporal, say) : 0,
    temporalUi: temporalUi && (await choosePort(temporalUi, say)),
  }
  const shared = inherited?.port ?? (await choosePort(wanted.shared, say))
  // Replicas that still serve hold the ports of gRPC until their successors are ready.
  if (inherited === undefined)
    for (const { port, what, variable } of wanted.grpc) await requireFreePort(port, `${what} (${variable})`)
  const api: number[] = []
  for (let index = 0; index < replicas; index++) {
    // Replicas that still serve hold their own ports, which their successors take again when those have ended.
    const own = inherited === undefined ? wanted.replicas[index] : undefined
    api.push(own ? await choosePort(own, say) : await freePort())
  }
  return { ...servers, api, shared, kept: inherited?.kept }
}

// Merges the JSON logs of all processes into one readable log. Redacts secrets, because servers may log them.

const maxBytes = 20_000_000
/** Limit of lines that wait for a slow disk, in bytes. Further lines are dropped. */
const maxPendingBytes = 4_000_000
const tailLines = 8
const levels: Readonly<Record<number, string>> = {
  10: 'trace',
  20: 'debug',
  30: 'info',
  40: 'warn',
  50: 'error',
  60: 'fatal',
}
/** JSON fields that are omitted. */
const omitted = new Set(['level', 'time', 'pid', 'hostname', 'msg', 'v', 'name'])

interface MergedLog {
  path: string
  write(process: string, line: string): void
  /** The last lines of a process, to explain a failed start. */
  tail(process: string): string[]
  close(): Promise<void>
}

/** Appends to `tenure.log` and rotates a large file. `echo` receives the lines too, but of many that differ in numbers only the first three. */
export function openMergedLog(stateDir: string, echo?: (line: string) => void): MergedLog {
  const show = echo && foldRepeated(echo)
  mkdirSync(stateDir, { recursive: true, mode: 0o700 })
  const path = join(stateDir, 'tenure.log')
  const file = openRotatedFile(path)
  const tails = new Map<string, string[]>()
  return {
    path,
    write(process, line) {
      if (line.trim() === '') return
      const readable = redacted(readableLine(process, line))
      file.append(readable)
      tails.set(process, [...(tails.get(process) ?? []), readable].slice(-tailLines))
      show?.(readable)
    },
    tail: (process) => tails.get(process) ?? [],
    close: file.close,
  }
}

/**
 * Appends lines and opens the file for each write, so that a full disk loses only the lines of that time. The next written line states how
 * many were dropped.
 */
function openRotatedFile(path: string) {
  let size = statSync(path, { throwIfNoEntry: false })?.size ?? 0
  let pending: string[] = []
  let pendingBytes = 0
  let dropped = 0
  let why = ''
  let flushing: Promise<void> | undefined
  const flush = async (): Promise<void> => {
    while (pending.length > 0) {
      if (size > maxBytes) await rename(path, `${path}.1`).then(() => (size = 0), noteFailure)
      const lines = pending
      pending = []
      pendingBytes = 0
      const note = `\n${readableLine('tenure', `${dropped} lines were dropped: ${why}`)}\n`
      const text = `${dropped > 0 ? note : ''}${lines.join('\n')}\n`
      try {
        await appendFile(path, text, { mode: 0o600 })
        size += Buffer.byteLength(text)
        dropped = 0
      } catch (error) {
        noteFailure(error)
        dropped += lines.length
      }
    }
    flushing = undefined
  }
  const noteFailure = (error: unknown) => void (why = error instanceof Error ? error.message : String(error))
  return {
    append(line: string) {
      pendingBytes += line.length
      if (pendingBytes > maxPendingBytes) dropped++
      else pending.push(line)
      // With nothing to append, the flush would finish before the assignment.
      if (pending.length > 0) flushing ??= flush()
    },
    close: () => flushing ?? Promise.resolve(),
  }
}

/** Formats `2001-01-03T09:14:07.312Z api      info  release started release=rel_1`; keeps non-JSON lines unchanged. */
export function readableLine(process: string, line: string, now = new Date()): string {
  const entry = line.startsWith('{') ? parseJson<Record<string, unknown>>(line) : undefined
  const at = typeof entry?.['time'] === 'number' ? new Date(entry['time']) : now
  const head = `${at.toISOString()} ${process.padEnd(8)}`
  if (entry === undefined) return `${head} ${visibleText(line)}`
  const level = levels[Number(entry['level'])] ?? 'info'
  const rest = Object.entries(entry)
    .filter(([name, value]) => !omitted.has(name) && value !== undefined)
    .map(([name, value]) => `${name}=${typeof value === 'object' ? JSON.stringify(value) : String(value)}`)
  return [head, level.padEnd(5), String(entry['msg'] ?? ''), ...rest]
    .filter((part) => part !== '')
    .map(oneLine)
    .join(' ')
}

/** Joins an entry into one line, so that a search finds a whole stack trace. */
const oneLine = (text: string): string => visibleText(text.split(/\s*\n\s*/).join(' | '))

/** So many lines that differ in numbers only are shown in that time; then their number follows. */
const maxRepeats = 3
const foldMs = 10_000
const maxFolded = 1_000

/** Passes lines on, but of more than three in ten seconds that differ in their numbers only, counts the rest and shows the last one. */
export function foldRepeated(
  echo: (line: string) => void,
  nowMs: () => number = () => performance.now(),
): (line: string) => void {
  const seen = new Map<string, { sinceMs: number; count: number }>()
  return (line) => {
    const key = line.slice('2001-01-03T09:14:07.312Z '.length).replaceAll(/\d+/g, '0')
    const now = nowMs()
    const before = seen.get(key)
    if (before !== undefined && now - before.sinceMs < foldMs) {
      before.count++
      if (before.count <= maxRepeats) echo(line)
      return
    }
    const folded = (before?.count ?? 0) - maxRepeats
    if (seen.size >= maxFolded) seen.clear()
    seen.set(key, { sinceMs: now, count: 1 })
    echo(folded > 0 ? `${line} (${folded} more like it before)` : line)
  }
}
