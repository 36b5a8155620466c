/** Says how to end the failures of a champion that has no version to return to, by what the model has: a version that waits, or a fallback. */
import type { Database } from '../postgres.ts'
import { findModel } from '../registry/models.ts'
import { findOpenRelease } from './releases.ts'

/** The kill switch that works for this model without an earlier version. */
async function pinOf(database: Database, model: string): Promise<'fallback' | 'refuse'> {
  const fallback = (await findModel(database, model))?.definition.fallback
  const isAlone = fallback !== undefined && (fallback.kind !== 'previous' || fallback.otherwise !== undefined)
  return isAlone ? 'fallback' : 'refuse'
}

const commandOf = (model: string, pin: 'fallback' | 'refuse'): string =>
  `\`tenure kill-switches set ${model} ${pin} --reason …\``

/** The same as a command. */
export const pinCommand = async (database: Database, model: string): Promise<string> =>
  commandOf(model, await pinOf(database, model))

/** A sentence that begins with an imperative. */
export async function stepWithoutTarget(database: Database, model: string): Promise<string> {
  const pin = await pinOf(database, model)
  const command = commandOf(model, pin)
  const open = await findOpenRelease(database, model)
  if (open?.state.stage === 'awaiting_approval')
    return `Approve ${open.state.version}, which waits: \`tenure approve ${open.state.id}\`. Until then: ${command}.`
  return `${pin === 'fallback' ? 'Serve the fallback' : 'Refuse all requests'}: ${command}.`
}
