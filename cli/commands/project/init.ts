/** `tenure init`: creates a project with a model file from a CSV. */
import { join } from 'node:path'
import type { InferredColumn } from '../../../domain/project/infer-columns.ts'
import { readVersion } from '../../../temporal.config.ts'
import type { CommandSpec } from '../../program.ts'
import { tableBy, type Terminal } from '../../terminal.ts'

export const initCommand: CommandSpec = {
  name: 'init [folder]',
  summary: 'Make a project: a model file from a CSV, its settings, a test and a CI file',
  options: [
    ['--from <csv>', 'File with a header and rows (default: an example, 150 flowers)'],
    [
      '--label <column>',
      'Column to predict (default: a column with a usual label name, such as target or churn, otherwise the last)',
    ],
    ['--time <column>', 'Column with the time of a row (default: inferred, and asked about on a terminal)'],
    ['--label-kind <kind>', 'classes or number, for a column of numbers (default: inferred)'],
    ['--python', 'Write the model file, its training and the test in Python'],
    ['--name <model>', 'Name of the model (default: that of the CSV)'],
    ['--yes', 'Accept the inferred columns without questions'],
    ['--overwrite', 'Overwrite existing files; in a project, only the model file and its data'],
  ],
  examples: [
    'init',
    'init shop --from orders.csv',
    'init --from orders.csv --label returned --yes',
    'init --python --from orders.csv',
  ],
  async run({ terminal }, { args, options }) {
    const { initProject } = await import('../../init/init-project.ts')
    const { askForColumns, withQuestions } = await import('../../init/ask.ts')
    const text = (name: string) => (typeof options[name] === 'string' ? options[name] : undefined)
    const asks =
      terminal.interactive && process.stdin.isTTY && options['yes'] !== true && text('from') !== undefined
    const made = await initProject({
      folder: String(args[0] ?? '.'),
      from: text('from'),
      name: text('name'),
      label: text('label'),
      time: text('time'),
      labelKind: text('labelKind'),
      language: options['python'] === true ? 'python' : 'typescript',
      overwrite: options['overwrite'] === true,
      choose: async (columns, inferred) => {
        terminal.say(columnsTable(terminal, columns), '')
        if (!asks) return inferred
        return withQuestions((question) => askForColumns(columns, inferred, question))
      },
    })
    const place = made.folder === process.cwd() ? [] : [`cd ${String(args[0])}`]
    const lines = [
      `${made.file} predicts ${made.label}${made.time === undefined ? '' : ` over ${made.time}`}${made.knownAt === undefined ? '' : `, known at ${made.knownAt}`}.`,
      ...(made.labelWhy === undefined || asks
        ? []
        : [
            `The column ${made.label} was taken because ${made.labelWhy}. To predict another, run \`tenure init\` again with --label <column> --overwrite.`,
          ]),
      ...(made.cut ? ['The types are those of the first 16 MB of the file.'] : []),
      ...[made.note, made.forecast, made.narrow].filter((each) => each !== undefined),
      ...(made.created.length === 0 ? [] : [`Written: ${made.created.join(', ')}`]),
      ...(made.overwritten.length === 0 ? [] : [`Overwritten: ${made.overwritten.join(', ')}`]),
      ...(made.kept.length === 0 ? [] : [`Kept as they are: ${made.kept.join(', ')}`]),
      ...(made.added.length === 0 ? [] : [`package.json: ${made.added.join(', ')} added`]),
      '',
      'Next:',
      ...[
        ...place,
        ...(made.wasProject
          ? ['npx tenure models sync   # while the system runs; else npx tenure up']
          : [
              ...(made.packedBy === undefined
                ? ['npm install']
                : [
                    `(cd ${made.packedBy} && npm run pack)`,
                    `npm install ${join(made.packedBy, `tenure-${readVersion()}.tgz`)}`,
                  ]),
              'npx tenure setup   # once: some minutes on a machine without Tenure',
              'npx tenure check',
              'npx tenure up   # the next command in another terminal',
            ]),
        `npx tenure retrain ${made.model}${made.asOf === undefined ? '' : ` --as-of ${made.asOf}`} --watch`,
      ].map((line) => `  ${line}`),
    ]
    terminal.answer(made, lines.join('\n'))
  },
}

const columnsTable = (terminal: Terminal, columns: readonly InferredColumn[]): string =>
  tableBy(
    terminal,
    columns,
    { column: 'column', use: useText, missing: ({ missing }) => missing || undefined },
    { keeps: ['use'] },
  )

function useText(column: InferredColumn): string {
  switch (column.use) {
    case 'number':
      return column.whole ? 'whole number' : 'number'
    case 'flag':
      return `yes or no (${column.values.join(', ')})`
    case 'category':
      return `${column.values.length} texts`
    case 'time':
      return `time, ${column.from} to ${column.to}`
    case 'none':
      return `left out: ${column.why}`
  }
}
