/** What a person needs to know once everything runs: where it is, and the key that is shown once. */
import type { System } from './system.ts'

export function addresses({ urls, temporalUi, log, stateDir }: System) {
  return { urls, docs: `${urls[0]}/docs`, temporalUi, log: log.path, stateDir }
}

/** What a person needs to know once all of it serves. */
export function welcome({ urls, temporalUi, log, prepared, stateDir }: System): string[] {
  return [
    '',
    `API          ${urls.join('  ')}`,
    `API docs     ${urls[0]}/docs`,
    ...(temporalUi === undefined ? [] : [`Temporal UI  ${temporalUi}`]),
    `Log          ${log.path}`,
    `State        ${stateDir}`,
    ...(prepared.adminKey === undefined
      ? []
      : [
          '',
          `Admin key    ${prepared.adminKey}`,
          '             It is shown this once and kept nowhere; commands on this machine have a key of their own.',
        ]),
    ...prepared.broken.flatMap(({ file, issues }) => [
      '',
      `models/${file} was not taken in:`,
      ...issues.map((issue) => `  ${issue}`),
    ]),
    '',
    'Ctrl-C stops everything.',
  ]
}
