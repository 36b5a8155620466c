/** `tenure plan` and `tenure apply`: compare the installation with the state file of the project, and change what differs. */
import { readFileSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { addressOf } from '../../../domain/installation/resource.ts'
import { DomainError } from '../../../domain/errors.ts'
import { parseJson } from '../../../domain/parse-json.ts'
import { readCommandConfig } from '../../../temporal.config.ts'
import { usageError } from '../../client/client.ts'
import { exitCodes } from '../../exit-codes.ts'
import type { MadePlan } from '../../installation/make-plan.ts'
import { askOnTerminal } from '../confirm.ts'
import type { CommandSession, CommandSpec, Options } from '../../program.ts'

const fileOption = ['--file <file>', 'State file (default: tenure.state.yaml of the project)'] as const
const pruneOption = [
  '--prune',
  'Also delete what the file does not list, in the sections that it has',
] as const

export const planCommand: CommandSpec = {
  name: 'plan',
  summary:
    'Show what differs between the state file and the installation, and what was changed by hand since the last apply',
  options: [
    fileOption,
    pruneOption,
    ['--out <plan>', 'Write the plan to a file for `tenure apply`'],
    ['--check', 'Exit with code 6 if something would change'],
  ],
  examples: ['plan', 'plan --check --json', 'plan --out plan.json'],
  async run({ terminal, api }, { options }) {
    const plan = await planOf({ api }, targetOf(options))
    const { planText } = await import('../../installation/plan-text.ts')
    if (typeof options['out'] === 'string')
      writeFileSync(options['out'], `${JSON.stringify(savedOf(plan), null, 2)}\n`, { mode: 0o600 })
    terminal.answer(shownOf(plan), planText(plan, terminal))
    return options['check'] === true && plan.changes.length > 0 ? exitCodes.otherwise : exitCodes.done
  },
}

export const applyCommand: CommandSpec = {
  name: 'apply [plan]',
  summary: 'Change the installation to match the state file; with a saved plan, make exactly its changes',
  options: [
    fileOption,
    pruneOption,
    ['--yes', 'Do not ask for confirmation'],
    ['--reason <text>', 'Reason, stored in the audit log (default: "tenure apply")'],
  ],
  examples: ['apply', 'apply --yes --reason "new limits"', 'apply plan.json'],
  async run({ terminal, api }, { args, options }) {
    const saved = args[0] === undefined ? undefined : readSaved(args[0])
    if (saved !== undefined && (options['file'] !== undefined || options['prune'] !== undefined))
      throw usageError('--file and --prune are part of the saved plan', 'Leave out --file and --prune.')
    const plan = await planOf({ api }, saved ?? targetOf(options))
    if (saved !== undefined && saved.fingerprint !== plan.fingerprint)
      throw new DomainError(
        'plan_stale',
        `${args[0]} was made for another state: the installation, ${plan.file} or a model file has changed since`,
      )
    const { planText } = await import('../../installation/plan-text.ts')
    terminal.say(planText(plan, terminal))
    const isAgreed =
      plan.changes.length === 0 ||
      saved !== undefined ||
      options['yes'] === true ||
      (await askOnTerminal(terminal, 'Apply? Only "yes" applies: ').then(
        (answer) => answer && answer === 'yes',
      ))
    if (isAgreed === undefined)
      throw usageError(
        'there is no terminal for the confirmation',
        'Add --yes, or apply a plan that `tenure plan --out` wrote.',
      )
    if (!isAgreed) {
      terminal.say('Nothing was applied.')
      return exitCodes.otherwise
    }
    const { applyPlan } = await import('../../installation/apply-plan.ts')
    const applied = await applyPlan(api(), plan, String(options['reason'] ?? 'tenure apply'))
    const lines = applied.changes.flatMap((change) => [
      `${change.action} ${addressOf(change)}`,
      ...(change.key === undefined ? [] : [`  ${change.key}`, '  Shown once: use it as TENURE_KEY.']),
      ...(change.problems ?? []).map((problem) => `  catching up: ${problem}`),
    ])
    terminal.answer(applied, [...lines, `Applied: ${applied.changes.length}.`].join('\n'))
    return exitCodes.done
  },
}

interface Target {
  file: string
  prune: boolean
}

async function planOf({ api }: Pick<CommandSession, 'api'>, target: Target): Promise<MadePlan> {
  const { makePlan } = await import('../../installation/make-plan.ts')
  return makePlan(api(), target)
}

const targetOf = ({ file, prune }: Options): Target => ({
  file: resolve(readCommandConfig().project, typeof file === 'string' ? file : 'tenure.state.yaml'),
  prune: prune === true,
})

/** `tenure apply` compares the fingerprint; the other fields are for readers. */
const savedOf = (plan: MadePlan) => ({
  format: 'tenure-plan@1',
  ...shownOf(plan),
  fingerprint: plan.fingerprint,
})

const shownOf = ({ file, prune, changes, kept, changedByHand }: MadePlan) => ({
  file,
  prune,
  changes,
  kept,
  changed_by_hand: changedByHand,
})

function readSaved(path: string): Target & { fingerprint: string } {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    throw usageError(`${path} cannot be read: ${(error as Error).message}`)
  }
  const plan = parseJson<Partial<ReturnType<typeof savedOf>>>(text)
  const { format, file, prune, fingerprint } = plan ?? {}
  if (format !== 'tenure-plan@1' || file === undefined || fingerprint === undefined)
    throw usageError(`${path} is not a plan`, 'Name a file that `tenure plan --out` wrote.')
  return { file, prune: prune === true, fingerprint }
}
