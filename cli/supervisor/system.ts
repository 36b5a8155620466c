/** Starts Tenure on one machine: servers, workers and API replicas under the supervisor. `tenure up` and the demo use it. */
import { dirname, join } from 'node:path'
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
import { freePort, requireFreePort } from '../embedded/process.ts'
import { openStateDir } from '../embedded/state-dir.ts'
import { openMergedLog, type MergedLog } from './merged-log.ts'
import { claim, expectUnclaimed, findOutliving } from './pidfile.ts'
import { choosePort, wantedPorts } from './ports.ts'
import { firstKey, prepareCore, type Prepared } from './bootstrap.ts'
import { replicaName, restartReplicas, untilOk } from './rolling-restart.ts'
import { bindSharedPort, receiveSharedPort, type SharedPort } from './shared-port.ts'
import { findUnknownVariables } from '../unknown-variables.ts'
import { supervise, type Supervision } from './supervisor.ts'

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
  const { config, core, stateDir, urls } = plan
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
    await awaitReplicas(plan, supervision, url)
    publishConnection(plan, prepared, url)
    const stopRolling = rollOnSignal(plan, supervision, log)
    const stop = async () => {
      stopRolling()
      await supervision.stop()
      sharedPort.close()
      await log.close()
    }
    const { temporalUi } = core
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
  const ports = await choosePorts(command, options, inherited?.port)
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
async function awaitReplicas({ inherited, urls, call }: SystemPlan, supervision: Supervision, url: string) {
  if (inherited !== undefined) {
    await untilOk(`${urls[0]}/readyz`, { maxMs: joinMs, call }).catch(() => {})
    await supervision.endSpared()
  }
  await untilOk(`${url}/livez`, { maxMs: joinMs, call }).catch((error: Error) => {
    throw new Error(`${replicaName(0)} does not serve: ${error.message}`)
  })
}

/** Tells the commands on this machine where the system is, and with which key they may call it. */
function publishConnection({ core, config, stateDir }: SystemPlan, { localKey }: Prepared, url: string) {
  const { databaseUrl, temporalAddress } = core
  const certificate = config.api.tls?.cert
  writeConnection(stateDir, {
    pid: process.pid,
    key: localKey,
    certificate,
    url,
    databaseUrl,
    temporalAddress,
  })
}

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
async function choosePorts(command: CommandConfig, { replicas, say }: SystemOptions, inherited?: number) {
  const wanted = wantedPorts(command, replicas)
  const { postgres, temporal, temporalUi } = wanted.servers
  const servers = {
    postgres: postgres ? await choosePort(postgres, say) : 0,
    temporal: temporal ? await choosePort(temporal, say) : 0,
    temporalUi: temporalUi && (await choosePort(temporalUi, say)),
  }
  const shared = inherited ?? (await choosePort(wanted.shared, say))
  // Replicas that still serve hold the ports of gRPC until their successors are ready.
  if (inherited === undefined)
    for (const { port, what, variable } of wanted.grpc) await requireFreePort(port, `${what} (${variable})`)
  const api: number[] = []
  for (let index = 0; index < replicas; index++) {
    // Replicas that still serve hold their own ports.
    const own = inherited === undefined ? wanted.replicas[index] : undefined
    api.push(own ? await choosePort(own, say) : await freePort())
  }
  return { ...servers, api, shared }
}
