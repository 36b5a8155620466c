/** Formats the addresses and the new admin key that `tenure up` prints. */
import { firstKey } from './bootstrap.ts'
import type { System } from './system.ts'

export function addresses({ url, urls, temporalUi, log, stateDir }: System) {
  return { url, urls, docs: `${url}/docs`, temporalUi, log: log.path, stateDir }
}

/** The first admin key is shown once. */
const signInHint = 'Sign in      with a key; a new one: npx tenure keys create ada --role approver'

export function welcome({ url, urls, temporalUi, log, prepared, stateDir }: System): string[] {
  return [
    '',
    `Dashboard    ${url}`,
    `API          ${url}/v1`,
    ...(urls.length === 1 ? [] : [`Each replica ${urls.join('  ')}`]),
    `API docs     ${url}/docs`,
    `Temporal UI  ${temporalUi === undefined ? 'off (TENURE_TEMPORAL_UI_PORT=8233 starts it)' : `${temporalUi}, which asks for no key: any page or user that reaches it may end workflows`}`,
    `Log          ${log.path}`,
    `State        ${stateDir}`,
    ...(prepared.adminKey === undefined ? [signInHint] : firstKey(prepared)),
    ...prepared.broken.flatMap(({ file, issues }) => [
      '',
      `models/${file} is invalid and was not applied:`,
      ...issues.map((issue) => `  ${issue}`),
    ]),
    '',
    'Ctrl-C stops everything.',
  ]
}
