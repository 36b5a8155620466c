/**
 * Builds the container images with buildah, runs them with podman, and trains, releases and queries a model in containers; writes
 * packages/lab/image/image.md. `npm run image [-- --starts 5 --out FILE]`; requires root and the packages that its page lists.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { checkout } from '../../../temporal.config.ts'
import { figureTable, machine, quantileOf } from '../../../test/support/figures.ts'
import { readOptions, reportFile } from '../harness/options.ts'
import { buildImage, podman, prepareBases, imageSizeOf } from './podman.ts'
import { runImageStory } from './story.ts'

const options = readOptions({ starts: 5, out: reportFile('image/image.md') })
const images = { api: 'localhost/tenure:1', train: 'localhost/tenure-train:1' }

await prepareBases()
const seconds = { api: await buildImage(images.api), train: await buildImage(images.train, { trains: true }) }
const sizes = { api: await imageSizeOf(images.api), train: await imageSizeOf(images.train) }
const bill = await writeBill(join(checkout, '.tenure/image/tenure.cdx.json'))
const story = await runImageStory(images, options.starts)
console.log(JSON.stringify({ seconds, sizes, ...story }))
const issues = [
  ...(sizes.api.mb <= 300 ? [] : [`the image has ${sizes.api.mb.toFixed(0)} MB, more than 300`]),
  ...(Math.min(...story.readyMs) <= 3_000 ? [] : [`no start took less than 3 s`]),
  ...(story.user === '65532' ? [] : [`the process runs as ${story.user}`]),
  ...(story.isFiltered ? [] : ['no seccomp profile filters the calls of the API']),
  // Killed by SIGKILL.
  ...(story.beyondLimit === 'code 137' ? [] : [`a process beyond its limit of memory: ${story.beyondLimit}`]),
  ...(story.written === 'EROFS' ? [] : [`a file below /opt/tenure could be written: ${story.written}`]),
]
for (const issue of issues) console.error(issue)
if (issues.length > 0) process.exitCode = 1
writeFileSync(options.out, page())

/** Writes the bill of materials of the image: npm packages, Node, and packages of the base. Returns their numbers. */
async function writeBill(file: string): Promise<{ npm: number; debian: number }> {
  const read =
    "const { readFileSync, readdirSync } = require('node:fs'); const folder = '/var/lib/dpkg/status.d/';" +
    "const stated = readdirSync(folder).map((name) => readFileSync(folder + name, 'utf8'));" +
    "console.log(JSON.stringify({ bill: JSON.parse(readFileSync('sbom.cdx.json', 'utf8')), stated }))"
  const { bill, stated } = JSON.parse(
    await podman('run', '--rm', '--network=none', images.api, '-e', read),
  ) as { bill: { components: object[] }; stated: string[] }
  const debian = stated.flatMap((text) => {
    const of = (field: string) => new RegExp(`^${field}: (.+)$`, 'm').exec(text)?.[1]
    const [name, version] = [of('Package'), of('Version')]
    if (name === undefined || version === undefined) return []
    const purl = `pkg:deb/debian/${name}@${encodeURIComponent(version)}?arch=${of('Architecture') ?? 'all'}`
    return [{ type: 'library', 'bom-ref': purl, name, version, purl }]
  })
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, JSON.stringify({ ...bill, components: [...bill.components, ...debian] }, null, 2))
  return { npm: bill.components.length, debian: debian.length }
}

function page(): string {
  const whole = (value: number) => value.toFixed(0)
  const seconds1 = (ms: number) => (ms / 1_000).toFixed(2)
  return [
    '# The container image',
    '',
    `Made by \`npm run image -- --starts ${options.starts}\` on ${machine}, which was shared with other work.`,
    '',
    'The images are built from the Dockerfile with buildah and run with podman and runc. No image registry could be reached, so `deploy/image/base.sh` made',
    'the two base images from packages: Debian without a shell, and Debian with Node and npm for the first stage.',
    '',
    ...figureTable('image | unpacked MB | in a registry MB | built in s', [
      ['API, control worker, command', whole(sizes.api.mb), whole(sizes.api.packedMb), whole(seconds.api)],
      ['the same with training', whole(sizes.train.mb), whole(sizes.train.packedMb), whole(seconds.train)],
    ]),
    '',
    `Its bill of materials (CycloneDX) lists ${bill.npm} packages of npm and Node, and ${bill.debian} of Debian.`,
    '',
    ...figureTable('of the API | ', [
      [
        'ready after the start, s (min, median, max)',
        [0, 0.5, 1].map((share) => seconds1(quantileOf(story.readyMs, share))).join(', '),
      ],
      ['stopped by SIGTERM, s', seconds1(story.stopMs)],
      ['memory, MB', whole(story.memoryMb)],
      ['user', story.user],
      ['a write below /opt/tenure', story.written],
      ['its calls are filtered by the default seccomp profile', story.isFiltered ? 'yes' : 'no'],
      ['a process that takes more than the limit of its container', `ends with ${story.beyondLimit}`],
    ]),
    '',
    'All containers share one volume. They run with a read-only root, without capabilities and privileges, under the default seccomp profile, with the memory',
    'limits of the Helm chart (1, 2 and 4 GiB).',
    '',
    `The containers run \`models sync\` (${story.syncSeconds.toFixed(1)} s), an API, a control worker and a training worker. They train \`${story.version}\` (${story.trainSeconds.toFixed(1)} s until it awaits approval),`,
    'release it and serve a prediction:',
    '',
    '```json',
    JSON.stringify(story.answer),
    '```',
    '',
  ].join('\n')
}
