/** `tenure models`: lists models, shows the champion at a time, applies new or edited model files, and deletes a model. */
import { gateVerdictText, outcomeText } from '../../../domain/evaluation/verdict-words.ts'
import { championMinuteOf, type ModelAnswer, type RetrainingAnswer } from '../../client/responses.ts'
import { spanText, versionText } from '../../../domain/monitoring/last-minute.ts'
import { exitCodes, type ExitCode } from '../../exit-codes.ts'
import type { BrokenModel } from '../../../models/index.ts'
import { readCommandConfig } from '../../../temporal.config.ts'
import type { SentModel } from '../../sync/send-models.ts'
import type { CommandGroup, CommandInput, CommandSession } from '../../program.ts'
import { path, uploadTimeoutMs, usageError } from '../../client/client.ts'
import { visibleText } from '../../../domain/visible-text.ts'
import { factsTable, type Terminal } from '../../terminal.ts'
import { digestPrefix, noModels, orDash } from '../format.ts'
import { listCommand } from '../list.ts'

export const modelsGroup: CommandGroup = {
  name: 'models',
  summary: 'List and delete models, show what was live, apply model files',
  commands: [
    listCommand<ModelAnswer>({
      summary: 'List models and their champions',
      examples: ['models', 'models list --json'],
      path: '/v1/models',
      field: 'models',
      none: noModels,
      pages: 'all',
      keeps: ['champion', 'open release'],
      droppable: ['about', 'since'],
      columns: {
        model: 'name',
        champion: (each) => each.champion?.version,
        since: (each) => each.champion?.since,
        'open release': 'open_release',
        about: (each, { paint }) => paint('dim', orDash(each.about)),
      },
    }),
    {
      name: 'sync [models...]',
      summary: 'Apply the model files of the project: definitions and schedules',
      options: [
        ['--dry-run', 'With TENURE_URL: check and compare the files on the server, and change nothing'],
      ],
      examples: ['models sync', 'models sync churn --dry-run'],
      async run({ terminal, api }, { args, options }) {
        const { databaseUrl, url } = readCommandConfig()
        if (url !== undefined && databaseUrl === undefined)
          return sendFiles({ terminal, api }, { names: args, isDry: options['dryRun'] === true })
        if (args.length > 0 || options['dryRun'] === true)
          throw usageError(
            'models and --dry-run need TENURE_URL: without it, all model files are applied to the servers of this machine',
          )
        const { syncFromCheckout } = await import('../../sync/sync-models.ts')
        const { models, broken, gone, deleted } = await syncFromCheckout()
        const lines = [
          ...models.flatMap(({ name, change, schedule, starts, note }) => [
            `${name.padEnd(24)} ${change}, ${schedule}`,
            ...starts.flatMap((each) => [
              `  ${each.schedule}: ${nextText(each)}`,
              ...(each.note === undefined ? [] : [terminal.paint('yellow', `  ${each.note}`)]),
            ]),
            ...(note === undefined ? [] : [terminal.paint('yellow', `  ${note}`)]),
          ]),
          ...linesOfBroken(terminal, broken),
          ...gone.flatMap((name) => [
            terminal.paint(
              'yellow',
              `${name.padEnd(24)} file removed: its schedules are paused; its champion, if it has one, keeps serving`,
            ),
            `  Restore the file of ${name} in models/ and sync again to train it. What it has recorded is kept.`,
            `  To stop serving its champion: \`tenure kill-switches set ${name} fallback --reason "…"\`.`,
            `  To delete it with all that is recorded of it: \`tenure models delete ${name}\`.`,
          ]),
          ...deleted.map(
            (name) => `${name.padEnd(24)} file removed: deleted, because it had recorded nothing`,
          ),
        ]
        const text = lines.length === 0 ? 'There are no model files to sync.' : lines.join('\n')
        terminal.answer({ models, broken, gone, deleted }, text)
        return broken.length === 0 ? exitCodes.done : exitCodes.otherwise
      },
    },
    {
      name: 'waiting <model>',
      summary: 'Show the files of a model whose code waits for an approval, and what they change',
      options: [['--diff', 'Show the text of the files, and of what they define, against those in use']],
      examples: ['models waiting churn', 'models waiting churn --diff'],
      async run({ terminal, api }, { args, options }) {
        const waiting = await api().get<SentModel & { sent_by: string; sent_at: string }>(
          path`/v1/models/${args[0]}/files`,
        )
        const to = path`/v1/models/${args[0]}/files/${waiting.digest}/diff`
        const shown = options['diff'] === true ? await api().get<{ diff: string }>(to) : undefined
        const lines = [
          ...(shown === undefined ? [] : [diffText(terminal, shown.diff)]),
          `sent by ${waiting.sent_by} at ${waiting.sent_at}`,
          ...linesOfSent(waiting),
        ]
        terminal.answer({ ...waiting, ...shown }, lines.join('\n'))
      },
    },
    {
      name: 'approve <model> <digest>',
      summary: 'Approve the code of model files that wait, and apply them',
      examples: ['models approve churn sha256:…'],
      async run({ terminal, api }, { args }) {
        const to = path`/v1/models/${args[0]}/files/${args[1]}/approve`
        // A worker loads the files first.
        const applied = await api().post<SentModel>(to, {}, undefined, { withinMs: uploadTimeoutMs })
        terminal.answer(applied, `${applied.model.padEnd(24)} applied`)
      },
    },
    {
      name: 'reject <model> <digest>',
      summary: 'Reject the code of model files that wait',
      options: [['--reason <text>', 'Why; in the audit log']],
      examples: ['models reject churn sha256:… --reason "reads another table"'],
      async run({ terminal, api }, { args, options }) {
        if (options['reason'] === undefined) throw usageError('--reason is required')
        const { reason } = options
        const rejected = await api().post<{ model: string }>(
          path`/v1/models/${args[0]}/files/${args[1]}/reject`,
          { reason },
        )
        terminal.answer(rejected, `${rejected.model.padEnd(24)} rejected`)
      },
    },
    {
      name: 'delete <model>',
      summary: 'Delete a model for good, such as one that was renamed: versions, history, log and files',
      options: [
        ['--confirm <model>', 'The name of the model again'],
        ['--dry-run', 'Count what would be deleted, and say what has to be done before'],
      ],
      examples: ['models delete amb --dry-run', 'models delete amb --confirm amb'],
      run: deleteModel,
    },
    {
      name: 'show <model>',
      summary: 'Show a model: what serves, what is open, the last retraining, and its features',
      examples: ['models show iris', 'models show iris --json'],
      run: showModel,
    },
    {
      name: 'champion <model>',
      summary: 'Show what was live at a given time, and why',
      options: [['--at <time>', 'Time (default: now)']],
      examples: ['models champion iris', 'models champion iris --at "2026-03-01 12:00"'],
      run: showChampion,
    },
  ],
}

interface DeletionAnswer {
  model: string
  deleted: boolean
  rows: Record<string, number>
  issues: string[]
}

async function deleteModel(
  { terminal, api }: CommandSession,
  { args, options }: CommandInput,
): Promise<ExitCode> {
  const [model] = args
  const isDry = options['dryRun'] === true
  if (!isDry && options['confirm'] !== model)
    throw usageError(`nothing was deleted: repeat the name with --confirm ${model}`)
  const answer = await api().delete<DeletionAnswer>(
    path`/v1/models/${model}?confirm=${model}&dry_run=${String(isDry)}`,
  )
  const counts = Object.entries(answer.rows).map(([table, rows]) => `  ${table.padEnd(28)} ${rows}`)
  const lines = [
    answer.deleted ? `${answer.model}: deleted` : `${answer.model}: nothing was deleted. Rows by table:`,
    ...counts,
    ...(answer.issues.length === 0 ? [] : ['Before the model can be deleted:']),
    ...answer.issues.map((issue) => `  ${issue}`),
  ]
  terminal.answer(answer, lines.join('\n'))
  return answer.issues.length === 0 ? exitCodes.done : exitCodes.otherwise
}

const diffWidth = 80
const diffColours = { '+': 'green', '-': 'red', '@': 'cyan' } as const

/** Breaks long lines, which begin with their sign again, so that none leads out of the terminal. Escapes what a terminal obeys. */
const diffText = ({ paint }: Terminal, diff: string): string =>
  visibleText(diff)
    .trimEnd()
    .split('\n')
    .flatMap((line) => {
      const sign = line.slice(0, 1)
      const colour = diffColours[sign as keyof typeof diffColours]
      const parts = line.slice(1).match(new RegExp(`.{1,${diffWidth - 1}}`, 'gsu')) ?? ['']
      return parts.map((part) => (colour === undefined ? `${sign}${part}` : paint(colour, `${sign}${part}`)))
    })
    .join('\n')

const stateTexts: Readonly<Record<SentModel['state'], string>> = {
  unchanged: 'unchanged',
  applied: 'applied',
  waiting: 'waits for an approval of its code',
  compared: 'compared, not applied',
}

function linesOfSent({
  model,
  digest,
  state,
  change,
  fields,
  files,
  code,
  settings,
  note,
}: SentModel): string[] {
  if (state === 'unchanged') return [`${model.padEnd(24)} unchanged`]
  return [
    `${model.padEnd(24)} ${change}, ${stateTexts[state]}`,
    ...fields.map((field) => `  ${field}`),
    ...(settings === undefined ? [] : [`  its settings are ${settings}`]),
    ...files.map(({ path: file, change: how }) => `  ${file} ${how}`),
    ...(code === undefined ? ['  no code changes'] : [`  its code needs an approval: ${code}`]),
    ...(note === undefined ? [] : [`  ${note}`]),
    ...(state === 'waiting' ? [`  An approver runs: tenure models approve ${model} ${digest}`] : []),
  ]
}

async function sendFiles(
  { terminal, api }: CommandSession,
  asked: { names: readonly string[]; isDry: boolean },
): Promise<ExitCode> {
  const { sendModels } = await import('../../sync/send-models.ts')
  const sent = await sendModels(api(), asked)
  const { models, broken, foreign } = sent
  const lines = [
    ...models.flatMap(linesOfSent),
    ...foreign.map((name) => `${name.padEnd(24)} not sent: the key has no access to this model`),
    ...linesOfBroken(terminal, broken),
  ]
  terminal.answer(sent, lines.length === 0 ? 'There are no model files to sync.' : lines.join('\n'))
  return broken.length === 0 ? exitCodes.done : exitCodes.otherwise
}

const linesOfBroken = (terminal: Terminal, broken: readonly BrokenModel[]): string[] =>
  broken.flatMap(({ file, issues }) => [
    terminal.paint('red', `models/${file} is invalid and was not applied:`),
    ...issues.map((issue) => `  ${issue}`),
  ])

const nextText = ({ starts, paused }: { starts: readonly string[]; paused: boolean }): string =>
  paused ? 'paused' : starts.length === 0 ? 'no start' : `next starts ${starts.join(', ')}`

interface LiveStatement {
  by: string
  reason?: string
}

interface LiveRelease {
  id: string
  requestedBy: string
  approvals: LiveStatement[]
  breakGlass?: LiveStatement
}

interface ShownModel extends ModelAnswer {
  features: Record<string, { kind: string; missing?: string; values?: string[] }>
  output: { kind: string }
  /** What was judged of the champion and on what its weights were refitted. */
  refit?: string
  definition_digest: string
}

async function showModel({ terminal, api }: CommandSession, { args }: CommandInput): Promise<void> {
  const model = await api().get<ShownModel>(path`/v1/models/${args[0]}`)
  const { retrainings } = await api().get<{ retrainings: RetrainingAnswer[] }>('/v1/retrainings', {
    model: model.name,
    limit: 1,
  })
  const [last] = retrainings
  const { champion, features, last_minute: counted } = model
  const minute = championMinuteOf(model)
  const text = factsTable(terminal, [
    ['model', model.name],
    ['about', model.about],
    ['champion', champion && `${champion.version}, since ${champion.since}`],
    ['refit', model.refit],
    ['open release', model.open_release],
    [
      'last minute',
      [
        ...(minute === undefined
          ? []
          : [
              `${versionText(minute)} ${spanText(minute)}${counted?.is_failing === true ? ': too many' : ''}`,
            ]),
        ...(counted?.others ?? []).map(versionText),
      ].join('; ') || undefined,
    ],
    [
      'last retraining',
      last &&
        `${outcomeText(last.outcome ?? 'running')}, started ${last.started_at}${last.message === undefined ? '' : `: ${last.message}`}`,
    ],
    ['quality', model.quality_unmeasured && `not measured: ${model.quality_unmeasured}`],
    ['output', model.output.kind],
    [
      'features',
      Object.entries(features)
        .map(
          ([name, { kind, values }]) => `${name} (${values === undefined ? kind : `${values.length} texts`})`,
        )
        .join(', '),
    ],
    ['definition', digestPrefix(model.definition_digest)],
  ])
  terminal.answer({ ...model, last_retraining: last }, text)
}

interface LiveAnswer {
  version: string
  since: string
  until?: string
  previous_version?: string
  cause: string
  actor: string
  reason: string
  artifact_digest: string
  release?: LiveRelease
  /** The release that promoted a version restored by a rollback. */
  earned_by?: LiveRelease
  evaluation?: { id: string; verdict: string; digest: string; against?: string }
  decisions: { kind: string; stage: string }[]
  audit?: { seq: number; action: string; hash: string }
}

async function showChampion(
  { terminal, api }: CommandSession,
  { args, options }: CommandInput,
): Promise<void> {
  const answer = await api().get<LiveAnswer>(path`/v1/models/${args[0]}/champion`, { at: options['at'] })
  const { release, evaluation, decisions, audit } = answer
  // A version restored by a rollback was approved in the release that first promoted it.
  const earned = answer.cause === 'rollback' ? answer.earned_by : release
  const statementText = (each: LiveStatement) => `${each.by}${each.reason ? ` (${each.reason})` : ''}`
  const verdict = decisions[0]
  const until = answer.until ?? 'now'
  const text = factsTable(terminal, [
    ['champion', `${answer.version}, ${answer.since} to ${until}`],
    ['replaced', answer.previous_version],
    ['by', `${answer.cause} (${answer.actor}): ${answer.reason}`],
    ['artifact', digestPrefix(answer.artifact_digest)],
    [
      'evaluation',
      evaluation &&
        `${gateVerdictText(evaluation.verdict, { isFirst: evaluation.against === undefined })} (${evaluation.id}, ${digestPrefix(evaluation.digest)})`,
    ],
    ['release', release && `${release.id}, requested by ${release.requestedBy}`],
    ...(earned && earned !== release ? [['promoted by', earned.id] as const] : []),
    ['approved by', orDash(earned?.approvals.map(statementText).join(', '))],
    ...(earned?.breakGlass ? [['break-glass by', statementText(earned.breakGlass)] as const] : []),
    ['last verdict', verdict && `${verdict.kind} in ${verdict.stage}, ${decisions.length} in total`],
    ['audit', audit && `entry ${audit.seq}, ${audit.action}, ${digestPrefix(audit.hash)}`],
  ])
  terminal.answer(answer, text)
}
