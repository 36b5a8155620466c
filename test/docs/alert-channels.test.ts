/**
 * Tests that the channel files on the pages about alerts and chat are valid, and that each channel is of the kind that its page describes.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { readChannels } from '../../store/monitoring/alert-channels.ts'
import { checkout } from '../../temporal.config.ts'
import { blocksOf } from '../support/docs/markdown.ts'

it.each([
  ['alert-channels.md', ['slack', 'email']],
  ['releases/chat.md', ['slack', 'teams', 'pagerduty', 'opsgenie']],
])('the channel files of the page %s are valid', async (page, expected) => {
  const text = readFileSync(join(checkout, 'docs', 'how-to', page), 'utf8')
  const folder = mkdtempSync(join(tmpdir(), 'tenure-channels-'))
  try {
    const kinds: string[] = []
    for (const { text: file } of blocksOf(text).filter(({ notes }) => notes['channels'] !== undefined)) {
      writeFileSync(join(folder, 'channels.json'), file)
      kinds.push(...(await readChannels(join(folder, 'channels.json'))).map(({ target }) => target.kind))
    }
    expect(kinds).toEqual(expected)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
