/**
 * Assigns the partitions of each topic to the members of the group that read it. The assigner of @platformatic/kafka 2.12.1 assigns the topics of
 * the leader alone, and to all members: in a group of several topics, the records of the others would wait for ever.
 */
import type { GroupPartitionsAssigner } from '@platformatic/kafka'

export const assignPartitions: GroupPartitionsAssigner = (_leader, members, _topics, { topics }) => {
  const assigned = [...members.keys()].map((memberId) => ({
    memberId,
    assignments: new Map<string, { topic: string; partitions: number[] }>(),
  }))
  for (const [topic, { partitionsCount }] of topics) {
    const readers = assigned.filter(({ memberId }) => members.get(memberId)?.topics?.includes(topic))
    for (const [place, { assignments }] of readers.entries()) {
      const partitions: number[] = []
      for (let partition = place; partition < partitionsCount; partition += readers.length)
        partitions.push(partition)
      if (partitions.length > 0) assignments.set(topic, { topic, partitions })
    }
  }
  return assigned
}
