/**
 * `tenure guard-gateway`: takes the share of a candidate in a gateway that has no health check which asks a replica, once no replica says
 * that the candidate may serve. It needs neither Postgres nor Temporal, and runs where the replicas do not.
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { canonicalJson } from '../../../domain/canonical-json.ts'
import { reasonOf } from '../../../domain/errors.ts'
import { parseJson } from '../../../domain/parse-json.ts'
import {
  changeOf,
  lagOf,
  placeOf,
  refusalOf,
  traitsOf,
  versionsIn,
  type Gateway,
  type GatewayServer,
} from '../../../domain/serving/gateway.ts'
import {
  emptyMemory,
  judgeExposure,
  type ExposureAnswer,
  type GuardMemory,
  type NamedVersion,
} from '../../../domain/serving/gateway-guard.ts'
import { modelOfVersion } from '../../../domain/registry/version.ts'
import { openGateway } from '../../../store/gateways/open.ts'
import { createApiFetch, type ApiFetch } from '../../../store/tls/api-fetch.ts'
import { gatewaySettings, readCommandConfig } from '../../../temporal.config.ts'
import { path, usageError } from '../../client/client.ts'
import { numberOption } from '../../number-option.ts'
import { findOwnModel } from '../../own-model.ts'
import { stateDirsOf } from '../../state-dir.ts'
import type { CommandSpec } from '../../program.ts'

/** A replica that hangs is silent after this time. */
const maxAnswerMs = 2_000

export const guardGatewayCommand: CommandSpec = {
  name: 'guard-gateway <model>',
  summary: 'Take the share of a candidate in a gateway when no replica says that it may serve',
  options: [
    ['--replica <url…>', 'Address of a replica (default: TENURE_URL)'],
    ['--every <seconds>', 'Time between two checks (default: 5)'],
    ['--checks <n>', 'Silent checks in a row after which the candidate loses its share (default: 3)'],
    [
      '--file <path>',
      'Where the known good version is kept for the next start (default: guards/<model>.json in TENURE_STATE)',
    ],
  ],
  examples: [
    'guard-gateway roses --replica http://10.0.0.5:8080 --replica http://10.0.0.6:8080',
    'guard-gateway roses --replica http://tenure-api:8080 --every 10 --checks 6',
  ],
  async run({ terminal }, { args, options, lists }) {
    const model = String(args[0])
    const everyMs = 1_000 * (numberOption(options, 'every', { min: 1, max: 600 }) ?? 5)
    const checks = numberOption(options, 'checks', { min: 1, max: 1_000, whole: true }) ?? 3
    const { url, key, trust, stateDir } = readCommandConfig()
    const urls = lists['replica'] ?? (url === undefined ? [] : [url])
    if (urls.length === 0)
      throw usageError('no replica is named', 'Name each with --replica, or set TENURE_URL.')
    const odd = urls.find((each) => !/^https?:\/\/./.test(each) || !URL.canParse(each))
    if (odd !== undefined) throw usageError(`--replica is an http:// or https:// address, not "${odd}"`)
    const { traffic } = await findOwnModel(model)
    if (traffic === undefined)
      throw usageError(`the model file of ${model} names no gateway`, 'Set its traffic, or run no guard.')
    const traits = traitsOf(traffic)
    if (traits.hasLease)
      throw usageError(
        `the gateway ${placeOf(traffic)} has health checks that ask the replicas`,
        'Run no guard: its health checks take the share of the candidate.',
      )
    const send = createApiFetch(trust)
    const ask = (version: string) =>
      askReplicas(urls, (each) =>
        askReplica(send, { url: each, key, model, version, maxMs: Math.min(maxAnswerMs, everyMs) }),
      )
    const gateway = openGateway(traffic, gatewaySettings())
    const file = String(options['file'] ?? join(stateDirsOf(stateDir)[0], 'guards', `${model}.json`))
    const kept = openNamedFile(file, model)
    let shown: string | undefined
    let seen: GuardLook = { memory: { ...emptyMemory, named: kept.found }, servers: [], text: '' }
    for (;;) {
      const startedAt = performance.now()
      seen = await guardOnce(gateway, seen, { model, place: placeOf(traffic), traits, checks, ask })
      const unkept = kept.keep(seen.memory.named)
      const text = unkept === undefined ? seen.text : `${seen.text}; ${unkept}`
      // One line for each change.
      if (text !== shown) terminal.say(`${new Date().toISOString()} ${model}: ${text}`)
      shown = text
      await pause(Math.max(0, everyMs - (performance.now() - startedAt)))
    }
  },
}

const isNamed = ({ proven, weights }: { proven?: unknown; weights?: object | null }): boolean =>
  typeof proven === 'string' &&
  weights !== null &&
  typeof weights === 'object' &&
  Object.values(weights).every(Number.isFinite)

/**
 * Opens the file in which a guard keeps the known good version for the next one. Throws where what is there is not that of this model, or
 * where its folder cannot be made. `keep` says why it could not be written, and writes it at the next check then.
 */
export function openNamedFile(
  file: string,
  model: string,
): { found?: NamedVersion; keep(named: NamedVersion | undefined): string | undefined } {
  const refused = (why: string) =>
    usageError(
      `the file of the guard, ${file}, ${why}`,
      `Name another file with --file, or delete this one: the guard then changes nothing until a replica has named the known good version.`,
    )
  const read = () => {
    try {
      mkdirSync(dirname(file), { recursive: true, mode: 0o711 })
      return readFileSync(file, 'utf8')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw refused(`cannot be read: ${reasonOf(error)}`)
    }
  }
  const text = read()
  const found = text === undefined ? undefined : (parseJson<NamedVersion>(text) ?? undefined)
  if (text !== undefined && !(found && isNamed(found))) throw refused('is not one that a guard has written')
  const other =
    found &&
    [found.proven, ...Object.keys(found.weights)].find((version) => modelOfVersion(version) !== model)
  if (other !== undefined) throw refused(`names ${other}, which is no version of ${model}`)
  let written = canonicalJson({ named: found })
  return {
    found,
    keep(named) {
      const wanted = canonicalJson({ named })
      if (wanted === written) return undefined
      try {
        const partial = `${file}.${process.pid}`
        writeFileSync(partial, `${JSON.stringify(named, null, 2)}\n`, { flush: true })
        renameSync(partial, file)
        written = wanted
        return undefined
      } catch (error) {
        return `the known good version cannot be kept in ${file}: ${reasonOf(error)}`
      }
    },
  }
}

/** What a guard knows after a check. */
interface GuardLook {
  memory: GuardMemory
  /** The versions of the gateway, as it last said. */
  servers: readonly GatewayServer[]
  text: string
}

export interface GuardOptions {
  model: string
  place: string
  traits: ReturnType<typeof traitsOf>
  checks: number
  ask(version: string): Promise<ExposureAnswer>
}

/** Reads the weights, asks for each version that has one, and sets the gateway where that is due. Never throws. */
export async function guardOnce(
  gateway: Gateway,
  { memory, servers: known }: GuardLook,
  { model, place, traits, checks, ask }: GuardOptions,
): Promise<GuardLook> {
  let unread = ''
  const servers = await gateway.read().then(
    (read) => versionsIn(read, { model, place }).versions,
    (error: unknown) => {
      unread = `the gateway ${place} cannot be read: ${reasonOf(error)}; `
      return known
    },
  )
  const asked = servers.filter(({ weight }) => weight > 0).map(({ name }) => name)
  const answers = new Map(await Promise.all(asked.map(async (name) => [name, await ask(name)] as const)))
  const { memory: after, order, text } = judgeExposure(memory, { servers, answers }, { checks, traits })
  const look = { memory: after, servers, text: `${unread}${text}` }
  if (order === undefined || unread !== '') return look
  const version = after.proven!
  const refusal = refusalOf(order, servers, place, traits.serverOf)
  if (refusal !== undefined) return { ...look, text: `${text}: ${refusal}, so nothing is changed` }
  try {
    const set = versionsIn(await gateway.set(order, servers), { model, place }).versions
    const left = changeOf(order, set)
    if (left !== undefined)
      return { ...look, text: `${text}: ${version} was given the whole share, which is not in force yet` }
    const lag = lagOf(order, set)
    return {
      memory: after,
      servers: set,
      text: `${text}: ${version} now has the whole share${lag === undefined ? '' : `, but ${lag}`}`,
    }
  } catch (error) {
    return {
      ...look,
      text: `${text}: ${version} could not be given the whole share, and is given it again: ${reasonOf(error)}`,
    }
  }
}

/** Asks every replica at once. One that lets the version serve is enough, and one that names the known good version is preferred. */
async function askReplicas(
  urls: readonly string[],
  ask: (url: string) => Promise<ExposureAnswer>,
): Promise<ExposureAnswer> {
  const all = await Promise.all(urls.map(ask))
  const yes = all.filter((each) => each.mayServe)
  return (
    yes.find(({ proven }) => proven !== undefined) ??
    yes[0] ?? {
      mayServe: false,
      reason: all.flatMap((each) => (each.mayServe ? [] : [each.reason])).join('; '),
    }
  )
}

async function askReplica(
  send: ApiFetch,
  {
    url,
    key,
    model,
    version,
    maxMs,
  }: { url: string; key?: string; model: string; version: string; maxMs: number },
): Promise<ExposureAnswer> {
  const silent = (reason: string): ExposureAnswer => ({ mayServe: false, reason: `${url}: ${reason}` })
  try {
    const answer = await send(`${url.replace(/\/+$/, '')}${path`/v1/models/${model}/exposure/${version}`}`, {
      headers: { accept: 'application/json', ...(key !== undefined && { authorization: `Bearer ${key}` }) },
      redirect: 'manual',
      signal: AbortSignal.timeout(maxMs),
    })
    const said = parseJson<Record<string, unknown>>(await answer.text())
    if (!answer.ok)
      return silent(typeof said?.['detail'] === 'string' ? said['detail'] : `status ${answer.status}`)
    if (said?.['model'] !== model || said['version'] !== version)
      return silent('the answer is not that of a replica')
    const { proven } = said
    return { mayServe: true, ...(typeof proven === 'string' && { proven }) }
  } catch (error) {
    return silent(reasonOf(error))
  }
}
