/** Says how to end the failures of a champion that has no version to return to, by what the model has: a version that waits, or a fallback. */
import type { Database } from '../postgres.ts'
import { findModel } from '../registry/models.ts'
import { findOpenRelease } from './releases.ts'

/** The kill switch that works for this model without an earlier version, as a command. */
export async function pinCommand(database: Database, model: string): Promise<string> {
  const fallback = (await findModel(database, model))?.definition.fallback
  const isAlone = fallback !== undefined && (fallback.kind !== 'previous' || fallback.otherwise !== undefined)
  return `\`tenure kill-switches set ${model} ${isAlone ? 'fallback' : 'refuse'} --reason …\``
}

/** A sentence that begins with an imperative. */
export async function stepWithoutTarget(database: Database, model: string): Promise<string> {
  const pin = await pinCommand(database, model)
  const open = await findOpenRelease(database, model)
  if (open?.state.stage === 'awaiting_approval')
    return `Approve ${open.state.version}, which waits: \`tenure approve ${open.state.id}\`. Until then: ${pin}.`
  return `${pin.includes(' fallback ') ? 'Serve the fallback' : 'Refuse all requests'}: ${pin}.`
}
