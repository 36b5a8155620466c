/** The channel files of docs/how-to/releases/chat.md are read, and each of their channels is of the kind that the page describes. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { readChannels } from '../../store/monitoring/alert-channels.ts'
import { checkout } from '../../temporal.config.ts'
import { blocksOf } from '../support/docs/markdown.ts'

it('the channel files of the page about chat are valid', async () => {
  const page = readFileSync(join(checkout, 'docs', 'how-to', 'releases', 'chat.md'), 'utf8')
  const folder = mkdtempSync(join(tmpdir(), 'tenure-chat-'))
  try {
    const kinds: string[] = []
    for (const { text } of blocksOf(page).filter(({ notes }) => notes['channels'] !== undefined)) {
      writeFileSync(join(folder, 'channels.json'), text)
      kinds.push(...(await readChannels(join(folder, 'channels.json'))).map(({ target }) => target.kind))
    }
    expect(kinds).toEqual(['slack', 'teams', 'pagerduty', 'opsgenie'])
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
