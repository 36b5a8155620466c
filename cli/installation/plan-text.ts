/** Formats a plan as text: `+` adds, `~` changes, `-` deletes. */
import { changedFields, type ChangedByHand, type ChangedField } from '../../domain/installation/plan.ts'
import { addressOf, type ResourceChange } from '../../domain/installation/resource.ts'
import type { Terminal } from '../terminal.ts'
import type { MadePlan } from './make-plan.ts'

const maxFields = 40
const maxValue = 80

export function planText(plan: MadePlan, terminal: Terminal): string {
  const { changes, kept, changedByHand, file, actor } = plan
  const isOwn = ({ kind, name }: (typeof kept)[number]) => kind === 'key' && name === actor
  const pruned = kept.filter((each) => !isOwn(each))
  const count = (is: (change: ResourceChange) => boolean) => changes.filter(is).length
  const summary =
    changes.length === 0
      ? `Nothing to change: the installation is as ${file} says.`
      : `Plan: ${count(isAdded)} to add, ${count((each) => !isAdded(each) && !isDeleted(each))} to change, ${count(isDeleted)} to delete.`
  return [
    ...(changedByHand.length === 0
      ? []
      : ['Changed since the last apply:', ...changedByHand.flatMap(linesOfHand), '']),
    ...changes.flatMap((change) => [...linesOf(change, terminal), '']),
    ...(pruned.length === 0
      ? []
      : [`Not in ${file}, and kept (--prune deletes): ${pruned.map(addressOf).join(', ')}.`]),
    ...(kept.some(isOwn)
      ? [`The acting key ${actor} is not in ${file}: name it there before you use --prune.`]
      : []),
    summary,
  ].join('\n')
}

const isAdded = ({ before }: ResourceChange): boolean => before === undefined
const isDeleted = ({ after }: ResourceChange): boolean => after === undefined

function linesOf(change: ResourceChange, { paint }: Terminal): string[] {
  const head = isAdded(change)
    ? paint('green', `+ ${addressOf(change)}`)
    : isDeleted(change)
      ? paint('red', `- ${addressOf(change)}`)
      : paint('yellow', `~ ${addressOf(change)}`)
  const effect =
    change.kind === 'model' && isDeleted(change)
      ? ['    its schedules are paused; its champion, if it has one, keeps serving']
      : []
  return [head, ...effect, ...fieldsOf(change)]
}

function fieldsOf({ kind, before, after }: ResourceChange): string[] {
  if (after === undefined) return []
  // For a new model, the definition equals its file and is not shown.
  const fields =
    kind === 'model' && before === undefined
      ? [{ path: 'code', before: undefined, after: after['code'] }]
      : changedFields(before, after)
  const lines = fields.slice(0, maxFields).map((field) => `    ${textOfField(field)}`)
  const more = fields.length - maxFields
  return more > 0 ? [...lines, `    … and ${more} more (--json shows all)`] : lines
}

function textOfField({ path, before, after }: ChangedField): string {
  const name = path.replace(/^definition\./, '')
  if (before === undefined) return `${name}: ${shown(after)}`
  if (after === undefined) return `${name}: ${shown(before)} → (removed)`
  return `${name}: ${shown(before)} → ${shown(after)}`
}

function shown(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  return text.length > maxValue ? `${text.slice(0, maxValue)}…` : text
}

function linesOfHand(change: ChangedByHand): string[] {
  const { applied, live, at, actor } = change
  const fields = changedFields(applied, live ?? {}).map(textOfField)
  const what = live === undefined ? ['deleted'] : fields
  return what.map((each) => `  ! ${addressOf(change)}: ${each} (applied ${at.slice(0, 19)}Z by ${actor})`)
}
