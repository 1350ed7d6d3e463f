"""The papers of the methods, as BibTeX: objectives and regularizers name theirs, and a model card cites those used."""

ALMUDEVAR_2025 = r"""@inproceedings{almudevar2025aligning,
  title     = {Aligning Multimodal Representations through an Information Bottleneck},
  author    = {Almud{\'e}var, Antonio and Hern{\'a}ndez-Lobato, Jos{\'e} Miguel and Khurana, Sameer and
               Marxer, Ricard and Ortega, Alfonso},
  booktitle = {International Conference on Machine Learning},
  year      = {2025}
}"""

AREVALO_2017 = r"""@article{arevalo2017gated,
  title   = {Gated Multimodal Units for Information Fusion},
  author  = {Arevalo, John and Solorio, Thamar and Montes-y-G{\'o}mez, Manuel and Gonz{\'a}lez, Fabio A.},
  journal = {arXiv:1702.01992},
  year    = {2017}
}"""

CASTRO_2019 = r"""@inproceedings{castro2019towards,
  title     = {Towards Multimodal Sarcasm Detection (An \_Obviously\_ Perfect Paper)},
  author    = {Castro, Santiago and Hazarika, Devamanyu and P{\'e}rez-Rosas, Ver{\'o}nica and Zimmermann, Roger and
               Mihalcea, Rada and Poria, Soujanya},
  booktitle = {Annual Meeting of the Association for Computational Linguistics},
  year      = {2019}
}"""

BURGESS_2018 = r"""@misc{burgess2018shapes,
  title  = {3{D} Shapes Dataset},
  author = {Burgess, Chris and Kim, Hyunjik},
  year   = {2018},
  note   = {https://github.com/google-deepmind/3d-shapes}
}"""

CHEN_2020 = """@inproceedings{chen2020simple,
  title     = {A Simple Framework for Contrastive Learning of Visual Representations},
  author    = {Chen, Ting and Kornblith, Simon and Norouzi, Mohammad and Hinton, Geoffrey},
  booktitle = {International Conference on Machine Learning},
  year      = {2020}
}"""

CICCHETTI_2025_GRAM = """@inproceedings{cicchetti2025gramian,
  title     = {Gramian Multimodal Representation Learning and Alignment},
  author    = {Cicchetti, Giordano and Grassucci, Eleonora and Sigillo, Luigi and Comminiello, Danilo},
  booktitle = {International Conference on Learning Representations},
  year      = {2025}
}"""

CICCHETTI_2025_TRIANGLE = """@inproceedings{cicchetti2025triangle,
  title     = {A {TRIANGLE} Enables Multimodal Alignment Beyond Cosine Similarity},
  author    = {Cicchetti, Giordano and Grassucci, Eleonora and Comminiello, Danilo},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2025}
}"""

CISSEE_2026 = """@misc{cissee2026orthogonalized,
  title         = {Orthogonalized Multimodal Contrastive Learning with Asymmetric Masking for Structured
                   Representations},
  author        = {Cissee and Younis and Ahmadi},
  year          = {2026},
  eprint        = {2602.14983},
  archivePrefix = {arXiv}
}"""

DUFUMIER_2025 = """@inproceedings{dufumier2025align,
  title     = {What to align in multimodal contrastive learning?},
  author    = {Dufumier, Benoit and Castillo-Navarro, Javiera and Tuia, Devis and Thiran, Jean-Philippe},
  booktitle = {International Conference on Learning Representations},
  year      = {2025}
}"""

ESLAMI_2025 = """@inproceedings{eslami2025mitigate,
  title     = {Mitigate the Gap: Improving Cross-Modal Alignment in {CLIP}},
  author    = {Eslami, Sedigheh and de Melo, Gerard},
  booktitle = {International Conference on Learning Representations},
  year      = {2025}
}"""

FAHIM_2024 = """@misc{fahim2024modality,
  title         = {It's Not a Modality Gap: Characterizing and Addressing the Contrastive Gap},
  author        = {Fahim, Abrar and Murphy, Alex and Fyshe, Alona},
  year          = {2024},
  eprint        = {2405.18570},
  archivePrefix = {arXiv}
}"""

GIRDHAR_2023 = """@inproceedings{girdhar2023imagebind,
  title     = {{ImageBind}: One Embedding Space To Bind Them All},
  author    = {Girdhar, Rohit and El-Nouby, Alaaeldin and Liu, Zhuang and Singh, Mannat and Alwala, Kalyan Vasudev and
               Joulin, Armand and Misra, Ishan},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year      = {2023}
}"""

GOEL_2022 = """@inproceedings{goel2022cyclip,
  title     = {{CyCLIP}: Cyclic Contrastive Language-Image Pretraining},
  author    = {Goel, Shashank and Bansal, Hritik and Bhatia, Sumit and Rossi, Ryan A. and Vinay, Vishwa and
               Grover, Aditya},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2022}
}"""

GRASSUCCI_2026 = """@inproceedings{grassucci2026closing,
  title     = {Closing the Modality Gap Aligns Group-Wise Semantics},
  author    = {Grassucci, Eleonora and Cicchetti, Giordano and Frasca and Uncini, Aurelio and
               Comminiello, Danilo},
  booktitle = {International Conference on Learning Representations},
  year      = {2026}
}"""

YAMAGUCHI_2025 = """@inproceedings{yamaguchi2025postpretraining,
  title     = {Post-pre-training for Modality Alignment in Vision-Language Foundation Models},
  author    = {Yamaguchi, Shin'ya and Feng, Dewei and Kanai, Sekitoshi and Adachi, Kazuki and Chijiwa, Daiki},
  booktitle = {Conference on Computer Vision and Pattern Recognition},
  year      = {2025}
}"""

HASAN_2019 = """@inproceedings{hasan2019urfunny,
  title     = {{UR-FUNNY}: A Multimodal Language Dataset for Understanding Humor},
  author    = {Hasan, Md Kamrul and Rahman, Wasifur and Zadeh, AmirAli Bagher and Zhong, Jianyuan and
               Tanveer, Md Iftekhar and Morency, Louis-Philippe and Hoque, Mohammed},
  booktitle = {Conference on Empirical Methods in Natural Language Processing},
  year      = {2019}
}"""

GONDAL_2019 = """@inproceedings{gondal2019transfer,
  title     = {On the Transfer of Inductive Bias from Simulation to the Real World: a New Disentanglement Dataset},
  author    = {Gondal, Muhammad Waleed and W{\\"u}thrich, Manuel and Miladinovi{\\'c}, {\\DJ}or{\\dj}e and Locatello,
               Francesco and Breidt, Martin and Volchkov, Valentin and Akpo, Joel and Bachem, Olivier and
               Sch{\\"o}lkopf, Bernhard and Bauer, Stefan},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2019}
}"""

HERMANN_2020 = """@inproceedings{hermann2020what,
  title     = {What shapes feature representations? {E}xploring datasets, architectures, and training},
  author    = {Hermann, Katherine L. and Lampinen, Andrew K.},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2020}
}"""

HU_2022 = """@inproceedings{hu2022lora,
  title     = {{LoRA}: Low-Rank Adaptation of Large Language Models},
  author    = {Hu, Edward J. and Shen, Yelong and Wallis, Phillip and Allen-Zhu, Zeyuan and Li, Yuanzhi and
               Wang, Shean and Wang, Lu and Chen, Weizhu},
  booktitle = {International Conference on Learning Representations},
  year      = {2022}
}"""

JIANG_2023 = """@inproceedings{jiang2023understanding,
  title     = {Understanding and Constructing Latent Modality Structures in Multi-Modal Representation Learning},
  author    = {Jiang, Qian and Chen, Changyou and Zhao, Han and Chen, Liqun and Ping, Qing and Tran, Son Dinh and
               Xu, Yi and Zeng, Belinda and Chilimbi, Trishul},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year      = {2023}
}"""

JOHNSON_2016 = """@article{johnson2016mimic,
  title   = {{MIMIC-III}, a freely accessible critical care database},
  author  = {Johnson, Alistair E. W. and Pollard, Tom J. and Shen, Lu and Lehman, Li-wei H. and Feng, Mengling and
             Ghassemi, Mohammad and Moody, Benjamin and Szolovits, Peter and Celi, Leo Anthony and Mark, Roger G.},
  journal = {Scientific Data},
  volume  = {3},
  year    = {2016}
}"""

KHOSLA_2020 = """@inproceedings{khosla2020supervised,
  title     = {Supervised Contrastive Learning},
  author    = {Khosla, Prannay and Teterwak, Piotr and Wang, Chen and Sarna, Aaron and Tian, Yonglong and
               Isola, Phillip and Maschinot, Aaron and Liu, Ce and Krishnan, Dilip},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2020}
}"""

LEE_2019 = """@inproceedings{lee2019making,
  title     = {Making Sense of Vision and Touch: Self-Supervised Learning of Multimodal Representations for
               Contact-Rich Tasks},
  author    = {Lee, Michelle A. and Zhu, Yuke and Srinivasan, Krishnan and Shah, Parth and Savarese, Silvio and
               Fei-Fei, Li and Garg, Animesh and Bohg, Jeannette},
  booktitle = {International Conference on Robotics and Automation},
  year      = {2019}
}"""

LIANG_2021 = """@inproceedings{liang2021multibench,
  title     = {{MultiBench}: Multiscale Benchmarks for Multimodal Representation Learning},
  author    = {Liang, Paul Pu and Lyu, Yiwei and Fan, Xiang and Wu, Zetian and Cheng, Yun and Wu, Jason and
               Chen, Leslie and Wu, Peter and Lee, Michelle A. and Zhu, Yuke and Salakhutdinov, Ruslan and
               Morency, Louis-Philippe},
  booktitle = {Advances in Neural Information Processing Systems, Datasets and Benchmarks},
  year      = {2021}
}"""

LIANG_2023 = """@inproceedings{liang2023factorized,
  title     = {Factorized Contrastive Learning: Going Beyond Multi-view Redundancy},
  author    = {Liang, Paul Pu and Deng, Zihao and Ma, Martin Q. and Zou, James and Morency, Louis-Philippe and
               Salakhutdinov, Ruslan},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2023}
}"""

LIU_2026 = """@article{liu2026principled,
  title   = {Principled Multimodal Representation Learning},
  author  = {Liu, Xiaohao and others},
  journal = {IEEE Transactions on Pattern Analysis and Machine Intelligence},
  year    = {2026},
  note    = {arXiv:2507.17343}
}"""

LI_2021 = """@inproceedings{li2021align,
  title     = {Align before Fuse: Vision and Language Representation Learning with Momentum Distillation},
  author    = {Li, Junnan and Selvaraju, Ramprasaath R. and Gotmare, Akhilesh Deepak and Joty, Shafiq and
               Xiong, Caiming and Hoi, Steven},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2021}
}"""

LI_2026 = """@misc{li2026ovaib,
  title  = {{OVA-IB}: One vs All Information Bottleneck for Multi-Modal Alignment},
  author = {Li, Tianchao and Yu, Shujian and Zu, Xinrui and Wei, Zhaolong and Gummeson, Jeremy and
            Cheng, Jack C. P. and Jenssen, Robert},
  note   = {arXiv:2605.29900},
  year   = {2026}
}"""

MATTHEY_2017 = """@misc{matthey2017dsprites,
  title  = {{dSprites}: Disentanglement Testing Sprites Dataset},
  author = {Matthey, Loic and Higgins, Irina and Hassabis, Demis and Lerchner, Alexander},
  year   = {2017},
  note   = {https://github.com/google-deepmind/dsprites-dataset}
}"""

MU_2022 = """@inproceedings{mu2022slip,
  title     = {{SLIP}: Self-supervision Meets Language-Image Pre-training},
  author    = {Mu, Norman and Kirillov, Alexander and Wagner, David and Xie, Saining},
  booktitle = {European Conference on Computer Vision},
  year      = {2022}
}"""

RADFORD_2021 = """@inproceedings{radford2021learning,
  title     = {Learning Transferable Visual Models From Natural Language Supervision},
  author    = {Radford, Alec and Kim, Jong Wook and Hallacy, Chris and Ramesh, Aditya and Goh, Gabriel and
               Agarwal, Sandhini and Sastry, Girish and Askell, Amanda and Mishkin, Pamela and Clark, Jack and
               Krueger, Gretchen and Sutskever, Ilya},
  booktitle = {International Conference on Machine Learning},
  year      = {2021}
}"""

SAPORTA_2024 = """@inproceedings{saporta2024contrasting,
  title     = {Contrasting with {Symile}: Simple Model-Agnostic Representation Learning for Unlimited Modalities},
  author    = {Saporta, Adriel and Puli, Aahlad Manas and Goldstein, Mark and Ranganath, Rajesh},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2024}
}"""

TIAN_2020 = """@inproceedings{tian2020contrastive,
  title     = {Contrastive Multiview Coding},
  author    = {Tian, Yonglong and Krishnan, Dilip and Isola, Phillip},
  booktitle = {European Conference on Computer Vision},
  year      = {2020}
}"""

WANG_2020 = """@inproceedings{wang2020understanding,
  title     = {Understanding Contrastive Representation Learning through Alignment and Uniformity on the Hypersphere},
  author    = {Wang, Tongzhou and Isola, Phillip},
  booktitle = {International Conference on Machine Learning},
  year      = {2020}
}"""

WANG_2024 = """@inproceedings{wang2024decoupling,
  title     = {Decoupling Common and Unique Representations for Multimodal Self-supervised Learning},
  author    = {Wang, Yi and Albrecht, Conrad M. and Ait Ali Braham, Nassim and Liu, Chenying and Xiong, Zhitong and
               Zhu, Xiao Xiang},
  booktitle = {European Conference on Computer Vision},
  year      = {2024}
}"""

WEN_2025 = """@inproceedings{wen2025infmasking,
  title     = {{InfMasking}: Unleashing Synergistic Information by Contrastive Multimodal Interactions},
  author    = {Wen and Dai and Liu and Zheng and Dai and Wang and Kang and Wang and Xu and Duan},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2025}
}"""

ZADEH_2016 = """@article{zadeh2016mosi,
  title   = {{MOSI}: Multimodal Corpus of Sentiment Intensity and Subjectivity Analysis in Online Opinion Videos},
  author  = {Zadeh, Amir and Zellers, Rowan and Pincus, Eli and Morency, Louis-Philippe},
  journal = {arXiv:1606.06259},
  year    = {2016}
}"""

ZHAI_2023 = """@inproceedings{zhai2023sigmoid,
  title     = {Sigmoid Loss for Language Image Pre-Training},
  author    = {Zhai, Xiaohua and Mustafa, Basil and Kolesnikov, Alexander and Beyer, Lucas},
  booktitle = {International Conference on Computer Vision},
  year      = {2023}
}"""
