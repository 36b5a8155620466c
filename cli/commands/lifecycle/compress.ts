/** `tenure compress`: makes a smaller version of a version, or a network that learns its answers, which must answer like it. */
import { modelOfVersion } from '../../../domain/registry/version.ts'
import { compressionMethods, defaultTimes, timesLimits } from '../../../domain/model/compression.ts'
import { path, usageError } from '../../client/client.ts'
import { numberOption } from '../../number-option.ts'
import type { CommandSpec } from '../../program.ts'
import { versionNamed } from '../registry/versions.ts'
import { printStarted, warnOfChangedFile, type StartedReply } from './retrain.ts'
import { evaluateAsOfOption } from './training-options.ts'

export const compressCommand: CommandSpec = {
  name: 'compress <version>',
  summary:
    'Make a smaller version of a version, or a network that learns its answers; it is released if it answers like it and is worth it',
  options: [
    ['--to <method>', `How: ${compressionMethods.join(', ')}`],
    ['--keep <n>', 'How many trees stay, for fewer-trees (default: the fewest within half of ε)'],
    [
      '--epsilon <n>',
      'Mean distance of two answers that is too large, such as 0.005 (default: from the margin of the primary metric)',
    ],
    ['--times <n>', `How many times smaller or faster it must be (default: ${defaultTimes})`],
    ['--note, --reason <text>', 'Reason, stored with the version'],
    evaluateAsOfOption,
    ['--watch', 'Show the stages until the end; exit code 6 if there is no new version'],
  ],
  examples: [
    'compress flight-delay_v1.1.0 --to float16 --watch',
    'compress flight-delay@champion --to fewer-trees --keep 200 --epsilon 0.02',
    'compress flight-delay --to int8 --times 1.5',
    'compress fraud-score --to distil --epsilon 0.01 --times 20',
  ],
  async run(session, { args, options }) {
    const { api } = session
    const { to } = options
    if (!compressionMethods.some((each) => each === to))
      throw usageError(
        to === undefined
          ? `--to is missing: one of ${compressionMethods.join(', ')} is required`
          : `--to must be one of ${compressionMethods.join(', ')}, not ${String(to)}`,
      )
    const trees = numberOption(options, 'keep', { min: 1, max: 100_000, whole: true })
    if (trees !== undefined && to !== 'fewer-trees')
      throw usageError(
        `--keep counts trees, and --to ${String(to)} leaves none out`,
        'Leave out --keep, or use --to fewer-trees.',
      )
    const epsilon = numberOption(options, 'epsilon', { min: 0, max: 1, excludesMin: true, excludesMax: true })
    const times = numberOption(options, 'times', { ...timesLimits, excludesMin: true })
    const version = await versionNamed(api(), String(args[0]))
    const model = modelOfVersion(version) ?? version
    const started = await api().post<StartedReply>(path`/v1/models/${model}/retrainings`, {
      as_of: options['asOf'],
      reason: options['reason'],
      compress: {
        version,
        to,
        trees,
        epsilon,
        times,
      },
    })
    await warnOfChangedFile(session, model)
    return printStarted(session, {
      model,
      started,
      watch: options['watch'] === true,
      doing: [`Compressing ${version}`, 'the compression'],
    })
  },
}
