/**
 * Runs Tenure's services of compose.yaml in containers, with that file's images, commands, environment, volumes, health checks and order.
 * Postgres, Temporal and its tool run as processes, because their images come from a registry. Trains, releases and queries a model; then
 * replaces all containers on the same volumes. Writes packages/lab/compose/compose.md.
 *
 * `npm run bench -- compose [--build no --init /usr/bin/catatonit]`, as root; requires psql and the packages for `npm run image`.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { checkout } from '../../../temporal.config.ts'
import { figureTable, machine } from '../../../test/support/figures.ts'
import { readOptions, reportFile } from '../harness/options.ts'
import { runInside } from '../hosts/inside.ts'
import { buildImage, buildah, prepareBases } from '../image/podman.ts'
import { readCompose } from '../../../test/support/deploy/compose-file.ts'
import { runComposeStory } from './story.ts'

const options = readOptions({
  /** `no` reuses the images of an earlier `npm run image`. */
  build: 'yes',
  /** The program for `init: true`. */
  init: '/usr/bin/catatonit',
  out: reportFile('compose/compose.md'),
  inside: false,
  root: '',
})
/** Letters and digits only, as the file requires. */
const passwords = ['POSTGRES', 'TENURE_OWNER', 'TENURE_APP', 'TENURE_READER', 'TEMPORAL'].map((name) => [
  `${name}_PASSWORD`,
  `${name.toLowerCase().replace('_', '')}1234567890`,
])

if (options.inside) {
  execFileSync('ip', ['link', 'set', 'lo', 'up'])
  const services = readCompose(
    readFileSync(join(checkout, 'compose.yaml'), 'utf8'),
    Object.fromEntries(passwords) as Record<string, string>,
  )
  const story = await runComposeStory(services, options)
  const page = [
    '# compose.yaml',
    '',
    `Made by \`npm run bench -- compose\` on ${machine}, which was shared with other work.`,
    '',
    'The services of Tenure run in podman containers on a network of their own. Each has the image, command, environment, volumes, health check, user and order',
    'of compose.yaml. No image registry could be reached, so Postgres 18, the development server of Temporal and the command of `search-attributes` run as',
    'processes of the machine. psql creates the roles from deploy/postgres/roles.sql.',
    '',
    ...figureTable(
      'step | seconds',
      story.steps.map(({ name, seconds }) => [name, seconds.toFixed(1)]),
    ),
    '',
    `\`${story.version}\` answers after its release, and again after all containers were replaced. The health check of the API, run in its container, passes. No`,
    `process runs as root: ${story.users.join(', ')}.`,
    '',
  ].join('\n')
  console.log(page)
  writeFileSync(options.out, page)
} else {
  if (options.build === 'yes') {
    await prepareBases()
    await buildImage('localhost/tenure:1')
    await buildImage('localhost/tenure-train:1', { trains: true })
  }
  // The image names of the file without a BUILD_ID.
  for (const name of ['tenure', 'tenure-train'])
    await buildah('tag', `localhost/${name}:1`, `localhost/${name}:unversioned`)
  const self = fileURLToPath(import.meta.url)
  process.exitCode = (await runInside(process.argv.slice(2), (line) => console.log(line), self)) ?? 1
}
