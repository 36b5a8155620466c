/**
 * Sends commands to a release: `tenure approve`, `reject`, `pause` and others. A command carries the digests of the release that the user
 * was shown, so that the API refuses it if the release has changed.
 */
import { outcomeText } from '../../../domain/evaluation/verdict-words.ts'
import { idempotencyHeader } from '../../../domain/request-headers.ts'
import { idsOfRow, runOfRetraining } from '../../../domain/training/runs.ts'
import { modelOfVersion } from '../../../domain/registry/version.ts'
import { commandTerms, type CommandName } from '../../../domain/release/state.ts'
import { randomUUID } from 'node:crypto'
import { commandProblemOf, failure, path, usageError, type Client } from '../../client/client.ts'
import { temporalAddressOption } from '../../client/connection.ts'
import type { ModelAnswer, ReleaseAnswer, RetrainingAnswer, VersionAnswer } from '../../client/responses.ts'
import { exitCodes, type ExitCode } from '../../exit-codes.ts'
import type { CommandSession, CommandSpec } from '../../program.ts'
import { askOnTerminal, confirm, yesOption } from '../confirm.ts'
import { deferredText, type CommandReply } from '../deferred.ts'
import { follow } from '../follow.ts'
import { digestPrefix } from '../format.ts'

interface Verb {
  command: CommandName
  summary: string
  /** An example of a reason. */
  example?: string
}

/** The keys are those of the API's routes. */
const verbs: Readonly<Record<string, Verb>> = {
  approve: { command: 'approve', summary: 'Approve a release, or continue an inconclusive stage' },
  reject: {
    command: 'reject',
    summary: 'Reject a release, or roll back an inconclusive one',
    example: 'the test rows lack March',
  },
  pause: { command: 'pause', summary: 'Pause a release (automatic rollback stays on)' },
  resume: { command: 'resume', summary: 'Resume a release, or extend an inconclusive stage' },
  abort: { command: 'abort', summary: 'Abort a release or its queue entry; the champion stays' },
  'promote-now': {
    command: 'promoteNow',
    summary:
      'Promote by break-glass: skip approvals, minimum times and all stages but one; or register a challenger that the gate refused, by the id of its retraining',
    example: 'the champion answers nonsense',
  },
}

interface RefusedAnswer {
  artifact_digest: string
  report_digest: string
  report: { reasons: { message: string }[] }
}

const reasonQuestion = 'Reason, for the audit log: '

const waitOption = [
  '--wait, --watch',
  'Wait until the release has ended; exit code 6 unless the version is promoted',
] as const

const isReasonRequired = ({ command }: Verb): boolean => commandTerms[command].reason === 'required'

export const releaseCommands: readonly CommandSpec[] = Object.entries(verbs).map(([name, verb]) => ({
  name: `${name} <release>`,
  summary: verb.summary,
  options: [
    ['--reason <text>', `Reason, ${isReasonRequired(verb) ? 'required, ' : ''}stored in the audit log`],
    ['--stage <stage>', 'Refuse the command unless the release is at this stage'],
    ...(name === 'approve' ? [waitOption] : []),
    ...(name === 'promote-now' ? [yesOption] : []),
  ],
  examples: [
    `${name} rel_01h…${verb.example === undefined ? '' : ` --reason "${verb.example}"`}`,
    `${name} flight-delay --reason "checked with operations"`,
  ],
  async run({ terminal, api }, { args, options }) {
    const isRequired = isReasonRequired(verb)
    const named = String(args[0])
    const isQueued = named.startsWith('que_')
    // Looks before it asks.
    const id = isQueued || named.startsWith('retrain/') ? named : await findReleaseId(api(), named)
    const refused = name === 'promote-now' ? runOfRetraining(named) : undefined
    const shown =
      isQueued || refused !== undefined ? undefined : await api().get<ReleaseAnswer>(path`/v1/releases/${id}`)
    const given =
      options['reason'] ?? (isRequired ? await askOnTerminal(terminal, reasonQuestion, options) : undefined)
    if (isRequired && String(given ?? '').trim() === '')
      throw usageError(`tenure ${name} requires a reason; use --reason "…"`)
    const reason = { reason: given }
    const headers = { [idempotencyHeader]: randomUUID() }
    if (refused !== undefined) {
      const { evaluationId } = idsOfRow(named)
      const judged = await api().get<RefusedAnswer>(path`/v1/evaluations/${evaluationId}`)
      const { artifact_digest, report_digest, report } = judged
      await confirm(
        terminal,
        options,
        () =>
          `The gate refused this challenger of ${refused.model}: ${report.reasons.map(({ message }) => message).join('; ')}. Register it all the same and start its release?`,
      )
      const body = { ...reason, artifact_digest, evaluation_digest: report_digest }
      const answer = await api().post<CommandReply>(path`/v1/releases/${named}/${name}`, body, headers)
      return terminal.answer(answer, deferredText(named, answer) ?? answer.message)
    }
    if (shown === undefined) {
      if (options['stage'] !== undefined) throw usageError('--stage is for a release; a queue entry has none')
      const answer = await api().post<CommandReply>(path`/v1/releases/${named}/${name}`, reason, headers)
      return terminal.answer(answer, answer.message)
    }
    const { version, artifact_digest, evaluation_digest, policy_digest } = shown
    if (name === 'promote-now')
      await confirm(
        terminal,
        options,
        () =>
          `Promote ${version} without approvals and minimum times: one stage without a regression, then 100 % and the probation?`,
      )
    const stage = options['stage'] ?? (commandTerms[verb.command].isBound ? shown.stage : undefined)
    const body = { ...reason, stage, artifact_digest, evaluation_digest, policy_digest }
    const answer = await api().post<CommandReply>(path`/v1/releases/${id}/${name}`, body, headers)
    const deferred = deferredText(version, answer)
    if (deferred !== undefined) return terminal.answer(answer, deferred)
    const { accepted, message, stage: reached = '' } = answer
    const line = `${version}: ${message} (${reached}, artifact ${digestPrefix(artifact_digest)})`
    if (options['watch'] !== true)
      return terminal.answer({ release: id, accepted, message, stage: reached }, line)
    terminal.say(line)
    return awaitEnd({ terminal, api }, id)
  },
}))

/** The same commands behind their noun: `tenure releases approve`. */
export const releaseVerbs = (): CommandSpec[] =>
  [...releaseCommands, rollbackCommand].map((spec) => ({
    ...spec,
    examples: spec.examples.map((each) => `releases ${each}`),
    sameAs: spec.name,
  }))

/** Follows a release to its end. Only a promotion is a success. */
async function awaitEnd({ terminal, api }: CommandSession, id: string): Promise<ExitCode> {
  let shown = ''
  const ended = await follow(
    terminal,
    () => api().get<ReleaseAnswer>(path`/v1/releases/${id}`),
    ({ outcome }) => outcome !== undefined,
    ({ stage, why = '' }) => {
      const line = `${stage}: ${why}`
      if (line !== shown) terminal.say(line)
      shown = line
    },
  )
  const { version, outcome = '', reason = '' } = ended
  terminal.answer(ended, `${version}: ${outcomeText(outcome)} (${reason})`)
  return outcome === 'promoted' ? exitCodes.done : exitCodes.otherwise
}

export const rollbackCommand: CommandSpec = {
  name: 'rollback <release-or-model>',
  summary: 'Roll back a release, or the champion of a model',
  options: [
    ['--reason <text>', 'Reason, stored in the audit log'],
    ['--from <version>', 'Refuse the rollback unless this version serves'],
    yesOption,
  ],
  examples: [
    'rollback rel_01h… --reason "complaints"',
    'rollback flight-delay --reason "wrong unit upstream"',
    'rollback flight-delay --from flight-delay_v1.4.0 --yes',
  ],
  async run({ terminal, api }, { args, options }) {
    const named = String(args[0])
    const isRelease = named.startsWith('rel_')
    const target = isRelease ? path`/v1/releases/${named}` : path`/v1/models/${named}`
    let version = options['from'] as string | undefined
    if (isRelease && version !== undefined)
      throw usageError('--from is for a model; a release names its version')
    await confirm(terminal, options, async () => {
      if (isRelease) {
        const found = await api().get<ReleaseAnswer>(target)
        return `Roll back ${found.version}, so that ${found.baseline_version ?? 'no version'} serves all traffic?`
      }
      const found = await api().get<ModelAnswer>(target).catch(ignorePostgresOutage)
      if (found === undefined)
        return `It is unknown which version serves, because Postgres does not answer. Roll ${named} back?`
      // Rolls back the version that the user was shown.
      version ??= found.rolls_back
      const champion = found.champion?.version
      if (champion === undefined && version === undefined)
        throw failure({
          code: 'no_champion',
          detail: `${named} has no champion yet`,
          remedy: found.first_step,
        })
      if (found.no_rollback !== undefined && (version ?? champion) === champion)
        throw failure({ code: 'no_rollback_target', ...found.no_rollback })
      const to = found.route?.standby ?? 'its last known good version'
      if (version !== undefined && champion !== undefined && version !== champion) {
        const known = await api().get<VersionAnswer>(path`/v1/versions/${version}`)
        if (known.rolled_back_at !== undefined) {
          const question = `${version} is rolled back already. Roll back ${champion} → ${to}?`
          version = champion
          return question
        }
      }
      if (version === champion && champion !== undefined && found.route?.standby !== undefined)
        return `Roll back ${champion} → ${to}, for all traffic?`
      return version === undefined || version === champion
        ? `Roll back ${named} from ${champion} to its last known good version, for all traffic?`
        : `Roll back ${version}, so that ${champion ?? 'no version'} serves all traffic?`
    })
    const reason = options['reason'] ?? (await askOnTerminal(terminal, reasonQuestion, options)) ?? undefined
    const body = { reason: reason === '' ? undefined : reason, version }
    const headers = { [idempotencyHeader]: randomUUID() }
    const answer = await api().post<CommandReply & { changed?: boolean }>(`${target}/rollback`, body, headers)
    if (answer.changed === false) {
      terminal.answer(answer, answer.message)
      return exitCodes.otherwise
    }
    terminal.answer(
      answer,
      deferredText(named, answer) ?? `${terminal.paint('green', '✓')} ${answer.message}`,
    )
    return exitCodes.done
  },
}

/** Ignores an unreachable Postgres, because a rollback works without it and its confirmation must too. */
function ignorePostgresOutage(error: unknown): undefined {
  if (commandProblemOf(error)?.code !== 'postgres_unavailable') throw error
}

interface SignedAnswer {
  namespace: string
  workflow_id: string
  signal: string
  payload: object
}

/** Command name → signal name. */
const signals: Readonly<Record<string, string>> = {
  ...Object.fromEntries([...Object.keys(verbs), 'rollback'].map((name) => [name, name])),
  'promote-now': 'promoteNow',
}

export const signalCommand: CommandSpec = {
  name: 'sign <command> <release>',
  summary: 'Record a command to a release, and print the call of `temporal workflow signal` that delivers it',
  options: [['--reason <text>', 'Reason, stored in the audit log']],
  values: { command: Object.keys(signals) },
  examples: ['sign approve flight-delay', 'sign abort rel_01h… --reason "wrong data" --json'],
  async run({ terminal, api }, { args, options }) {
    const [name, named] = args.map(String) as [string, string]
    const command = signals[name]
    if (command === undefined)
      throw usageError(`"${name}" is not a command to a release; use ${Object.keys(signals).join(', ')}`)
    const id = await findReleaseId(api(), named)
    const { artifact_digest, evaluation_digest, policy_digest } = await api().get<ReleaseAnswer>(
      path`/v1/releases/${id}`,
    )
    const body = { command, reason: options['reason'], artifact_digest, evaluation_digest, policy_digest }
    const answer = await api().post<SignedAnswer>(path`/v1/releases/${id}/sign`, body)
    const input = JSON.stringify(answer.payload).replaceAll("'", String.raw`\u0027`)
    terminal.answer(
      answer,
      `temporal workflow signal${temporalAddressOption()} --namespace ${answer.namespace} --workflow-id ${answer.workflow_id} --name ${answer.signal} --input '${input}'`,
    )
  },
}

/**
 * Finds a release by its id, the latest of a version by the version's name, or the latest of a model by the model's name. For a model
 * without a release, throws what its last retraining led to; for an unknown one, `model_not_found`.
 */
export async function findReleaseId(client: Client, named: string): Promise<string> {
  if (named.startsWith('rel_')) return named
  const model = modelOfVersion(named)
  const { releases } = await client.get<{ releases: ReleaseAnswer[] }>('/v1/releases', {
    model: model ?? named,
    limit: model === undefined ? 1 : 1_000,
  })
  if (model === undefined && releases.length === 0) await explainAbsence(client, named)
  const found = model === undefined ? releases[0] : releases.find(({ version }) => version === named)
  return found?.id ?? named
}

async function explainAbsence(client: Client, model: string): Promise<void> {
  const { retrainings } = await client.get<{ retrainings: RetrainingAnswer[] }>('/v1/retrainings', {
    model,
    limit: 1,
  })
  const [last] = retrainings
  if (last === undefined) {
    const { first_step: remedy } = await client.get<ModelAnswer>(path`/v1/models/${model}`)
    throw failure({
      code: 'release_not_found',
      detail: `${model} has had no release and no retraining`,
      remedy,
    })
  }
  const ended =
    last.outcome === undefined ? 'still runs' : `ended: ${last.message ?? outcomeText(last.outcome)}`
  throw failure({
    code: 'release_not_found',
    detail: `${model} has had no release; its last retraining (${last.id}) ${ended}`,
    remedy: `Its checks and gates: \`tenure retrainings show ${model}\`.`,
  })
}
