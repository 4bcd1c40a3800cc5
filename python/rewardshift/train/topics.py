"""What the built-in prompts are about: everyday subjects, put together by seeded chance."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

_THINGS = (
    *("bread", "coffee", "chess", "gardening", "running", "the piano", "black holes", "volcanoes"),
    *("photosynthesis", "the Roman Empire", "electric cars", "bees", "jazz", "yoga", "camping"),
    *("public transport", "spaceflight", "dinosaurs", "the ocean", "mountains", "online learning"),
    *("tea", "football", "painting", "poetry", "robots", "vaccines", "earthquakes", "rainbows"),
    *("the stock market", "inflation", "sleep", "dreams", "memory", "friendship", "city life"),
    *("working from home", "cats", "dogs", "birds", "trees", "rivers", "bicycles", "old houses"),
    *("Python programming", "databases", "statistics", "probability", "geometry", "calculus"),
    *("the water cycle", "gravity", "magnets", "the moon", "museums", "libraries", "cooking rice"),
    *("chocolate", "cheese", "soup", "languages", "history", "recycling", "solar power", "wind"),
)
_TASKS = (
    *("learn to swim", "save money", "sleep better", "write a letter", "fix a flat tire"),
    *("learn a language", "prepare for an interview", "plan a trip", "cook pasta", "stay focused"),
    *("start a small business", "make new friends", "clean the kitchen", "train a puppy"),
    *("grow tomatoes", "write a resume", "give a speech", "remember names", "read more books"),
    *("reduce stress", "tune a guitar", "take better photos", "pack a suitcase", "run faster"),
    *("organise a party", "teach a child to read", "bake a cake", "choose a laptop", "say no"),
    *("back up my files", "sort a list in Python", "solve a quadratic equation", "lose weight"),
    *("apologise to a friend", "ask for a raise", "write a poem", "draw a face", "keep a diary"),
)
_EVENTS = (
    *("lost my keys", "passed my exam", "failed my driving test", "moved to a new city"),
    *("got a new job", "broke my phone", "burned the dinner", "won a small prize"),
    *("had an argument with my sister", "adopted a kitten", "finished a long book"),
    *("missed my train", "ran my first race", "planted a tree", "caught a cold"),
    *("quit my job", "met an old friend", "forgot a birthday", "learned a new song"),
    *("spilled coffee on my laptop", "got lost in the woods", "painted my room"),
    *("started a course", "fixed my bike", "had a bad day at work", "slept badly"),
    *("cooked for ten people", "wrote my first program", "saw a shooting star", "got a refund"),
)
_PEOPLE = (
    *("a child", "a beginner", "my grandmother", "a colleague", "a friend", "a student"),
    *("a tourist", "my boss", "a new neighbour", "a teenager"),
)
_PLACES = (
    *("Paris", "Japan", "the mountains", "the sea", "New York", "Egypt", "a small village"),
    *("Brazil", "the desert", "Iceland", "India", "the countryside", "London", "Kenya"),
)
_FORMS = (
    *("What is {thing}?", "Tell me about {thing}.", "Explain {thing} to {person}."),
    *("Why do people like {thing}?", "What should I know about {thing}?"),
    *("Give me three facts about {thing}.", "Write a short poem about {thing}."),
    *("Write a short story about {thing} and {thing2}.", "Compare {thing} and {thing2}."),
    *("What are the good and the bad sides of {thing}?", "What do you think about {thing}?"),
    *("How do I {task}?", "Give me some tips to {task}.", "Why is it so hard to {task}?"),
    *("I want to {task}. Where do I start?", "Make a plan to {task} in a week."),
    *("What is the best way to {task}?", "Can you help me to {task}?"),
    *("I {event} today.", "I {event}. What now?", "I {event} and I don't know how to feel."),
    *("My friend {event2}. What should I say?", "Yesterday I {event}!", "I just {event}."),
    *("What should I see in {place}?", "Describe a day in {place}."),
    *("Write a postcard from {place} to {person}.", "How was life in {place} long ago?"),
    *("Write an e-mail to {person} about {thing}.", "Name five words about {thing}."),
    *("How are you today?", "Tell me a joke about {thing}.", "Who invented {thing}, and when?"),
    *("Is it worth it to {task}?", "What would you say to {person} who wants to {task}?"),
)


def everyday_prompt(rng: np.random.Generator) -> str:
    """A question or remark such as people type, put together from a form and what fills it."""

    def one(of: tuple[str, ...]) -> str:
        return of[rng.integers(len(of))]

    event = one(_EVENTS)
    return one(_FORMS).format(
        thing=one(_THINGS),
        thing2=one(_THINGS),
        task=one(_TASKS),
        event=event,
        event2=event.replace("my ", "their "),
        person=one(_PEOPLE),
        place=one(_PLACES),
    )
